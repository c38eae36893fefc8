# `glommio-doctor`, `glommio-echo` and `glommio-tests` for whoever has a nixpkgs of their own.
{ crane }:
final: _previous:
let
  cargo = import ./cargo.nix {
    pkgs = final;
    inherit crane;
  };
  packages = import ./package.nix {
    pkgs = final;
    inherit cargo;
  };
in
{
  glommio-doctor = packages.doctor;
  glommio-echo = packages.echo;
  inherit (packages) glommio-tests;
}
