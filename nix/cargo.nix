# How cargo runs in a derivation: { craneLib, release, dev, description }. `release` and
# `dev` are arguments for crane, with the dependencies built beforehand by that profile.
{ pkgs, crane }:
let
  inherit (pkgs) lib;
  craneLib = crane.mkLib pkgs;

  # Whole folders, because tests read more than *.rs (snapshots, fixtures, pages).
  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../.ci
      ../CHANGELOG.md
      ../CONTRIBUTING.md
      ../Cargo.lock
      ../Cargo.toml
      ../README.md
      ../rustfmt.toml
      ../benches
      ../deny.toml
      ../docs
      ../flake.nix
      ../glommio
      ../glommio-macros
      ../nix
      ../nixos-tests
    ];
  };

  common = {
    inherit src;
    pname = "glommio";
    version = (lib.importTOML ../Cargo.toml).workspace.package.version;
    strictDeps = true;
    doCheck = false; # checks.nix is the place for it
  };

  withDependencies =
    arguments:
    arguments
    // {
      # Of every target, those of tests and benches too.
      cargoArtifacts = craneLib.buildDepsOnly (arguments // { doCheck = true; });
    };
in
{
  inherit craneLib;

  release = withDependencies common;

  # With the settings of .ci/run, or cargo would build the dependencies again.
  dev = withDependencies (
    common
    // {
      CARGO_PROFILE = "dev";
      env = {
        CARGO_INCREMENTAL = "0";
        CARGO_PROFILE_DEV_DEBUG = "line-tables-only";
      };
    }
  );

  meta = {
    homepage = "https://github.com/DataDog/glommio";
    license = with lib.licenses; [
      asl20
      mit
    ];
    platforms = lib.platforms.linux;
  };
}
