# What `nix run .#NAME` starts.
{
  pkgs,
  packages,
  machines,
}:
let
  inherit (pkgs) lib;
  app = description: program: {
    type = "app";
    inherit program;
    meta = { inherit description; };
  };
in
rec {
  default = doctor;
  doctor = app "Report what this machine offers to glommio, and measure it" (
    lib.getExe packages.doctor
  );
  bench = app "Compare glommio with io_uring by hand and with plain sockets" (
    lib.getExe packages.benches
  );
  vm = app "A Python prompt that drives the virtual machine of the newest kernel" (
    lib.getExe machines.vm-latest.driverInteractive
  );
}
