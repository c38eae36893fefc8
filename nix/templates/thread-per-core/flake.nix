{
  description = "A thread-per-core server on glommio";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";
    crane.url = "github:ipetkov/crane";
  };

  outputs =
    { nixpkgs, crane, ... }:
    let
      # glommio runs on Linux only.
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      forSystems = f: nixpkgs.lib.genAttrs systems (system: f nixpkgs.legacyPackages.${system});
    in
    {
      # Needs a Cargo.lock: run cargo once, and commit it.
      packages = forSystems (pkgs: {
        default = (crane.mkLib pkgs).buildPackage {
          src = pkgs.lib.cleanSource ./.;
          strictDeps = true;
          # The test needs io_uring, which a build sandbox may not have.
          doCheck = false;
          meta.mainProgram = "thread-per-core";
        };
      });

      devShells = forSystems (pkgs: {
        default = pkgs.mkShell {
          packages = with pkgs; [
            cargo
            clippy
            rust-analyzer
            rustc
            rustfmt
          ];
        };
      });

      formatter = forSystems (pkgs: pkgs.nixfmt-tree);
    };
}
