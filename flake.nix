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

      # What there is on every system: outputs without the system in their path.
      everywhere = pkgs: {
        devShells.default = import ./nix/shell.nix { inherit pkgs; };
        formatter = pkgs.nixfmt-tree;
      };

      # What there is on Linux besides.
      onLinux =
        pkgs:
        let
          cargo = import ./nix/cargo.nix { inherit pkgs crane; };
          packages = import ./nix/package.nix { inherit pkgs cargo; };
          machines = import ./nixos-tests {
            inherit pkgs packages;
            module = self.nixosModules.default;
          };
        in
        everywhere pkgs
        // {
          packages = packages // {
            default = packages.doctor;
          };
          checks = import ./nix/checks.nix { inherit pkgs cargo crane; } // machines;
          apps = import ./nix/apps.nix { inherit pkgs packages machines; };
        };

      perSystem =
        lib.genAttrs linux (system: onLinux nixpkgs.legacyPackages.${system})
        // lib.genAttrs darwin (system: everywhere nixpkgs.legacyPackages.${system});

      # From { system.output } to { output.system }, as flakes want it.
      output =
        name: lib.mapAttrs (_: each: each.${name}) (lib.filterAttrs (_: lib.hasAttr name) perSystem);
    in
    lib.genAttrs [ "packages" "checks" "apps" "devShells" "formatter" ] output
    // {
      overlays.default = import ./nix/overlay.nix { inherit crane; };
      nixosModules.default = import ./nix/module.nix { inherit self; };
      templates.default = {
        path = ./nix/templates/thread-per-core;
        description = "A new thread-per-core server on glommio, with a shell and a package";
        welcomeText = ''
          # A thread-per-core server on glommio

          `nix develop` or plain cargo: `cargo test`, then `cargo run --release`.
          README.md says what is where.
        '';
      };
    };
}
