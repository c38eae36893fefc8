{
  description = "glommio: thread-per-core asynchronous runtime for Linux on io_uring";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";
    crane.url = "github:ipetkov/crane";
  };

  outputs =
    {
      self,
      nixpkgs,
      crane,
    }:
    let
      inherit (nixpkgs) lib;

      # The library runs on Linux only; elsewhere there is a shell to edit it in.
      linux = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      darwin = [ "aarch64-darwin" ];

      forSystems = systems: f: lib.genAttrs systems (system: f nixpkgs.legacyPackages.${system});

      # Everything cargo builds or checks for one system: { doctor, checks }.
      rust = forSystems linux (pkgs: import ./nix/package.nix { inherit pkgs crane; });

      # One virtual machine per kernel.
      machines = forSystems linux (
        pkgs:
        import ./nixos-tests {
          inherit pkgs;
          inherit (rust.${pkgs.stdenv.hostPlatform.system}) doctor;
        }
      );
    in
    {
      packages = lib.mapAttrs (_: built: { default = built.doctor; }) rust;

      checks = lib.mapAttrs (system: built: built.checks // machines.${system}) rust;

      apps = lib.mapAttrs (_: built: rec {
        doctor = {
          type = "app";
          program = lib.getExe built.doctor;
          meta.description = "Report what this machine offers to glommio, and measure it";
        };
        default = doctor;
      }) rust;

      devShells = forSystems (linux ++ darwin) (pkgs: {
        default = import ./nix/shell.nix { inherit pkgs; };
      });

      formatter = forSystems (linux ++ darwin) (pkgs: pkgs.nixfmt-tree);
    };
}
