# What cargo builds and checks, each as a derivation: { doctor, checks }.
{ pkgs, crane }:
let
  inherit (pkgs) lib;
  craneLib = crane.mkLib pkgs;

  # Whole folders, because tests read more than *.rs (snapshots, fixtures).
  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../Cargo.lock
      ../Cargo.toml
      ../README.md
      ../rustfmt.toml
      ../benches
      ../glommio
      ../glommio-macros
    ];
  };

  common = {
    inherit src;
    pname = "glommio";
    version = (lib.importTOML ../Cargo.toml).workspace.package.version;
    strictDeps = true;
  };

  # The dependencies alone, built once and shared by everything below.
  deps = craneLib.buildDepsOnly common;
  withDeps = common // {
    cargoArtifacts = deps;
  };
in
{
  doctor = craneLib.buildPackage (
    withDeps
    // {
      pname = "glommio-doctor";
      cargoExtraArgs = "--locked --package glommio --example doctor";
      doCheck = false; # `checks.tests` is the place for it
      meta = {
        description = "Report what a machine offers to the glommio runtime, and measure it";
        license = with lib.licenses; [
          asl20
          mit
        ];
        mainProgram = "doctor";
        platforms = lib.platforms.linux;
      };
    }
  );

  checks = {
    format = craneLib.cargoFmt common;

    clippy = craneLib.cargoClippy (
      withDeps // { cargoClippyExtraArgs = "--workspace --all-targets -- --deny warnings"; }
    );

    # A build sandbox need not offer io_uring, so this builds every test and runs
    # those of the modules that never make a ring.
    tests = craneLib.mkCargoDerivation (
      withDeps
      // {
        pnameSuffix = "-tests";
        doInstallCargoArtifacts = false;
        buildPhaseCargoCommand = "cargoWithProfile test --locked --workspace --no-run";
        doCheck = true;
        checkPhaseCargoCommand = ''
          cargoWithProfile test --locked --package glommio --test unsafe_files
          cargoWithProfile test --locked --package glommio --lib -- \
            error:: task:: reactor::wheel:: sys::topology:: sys::clock::
        '';
      }
    );

    docs = craneLib.cargoDoc (
      withDeps
      // {
        cargoDocExtraArgs = "--workspace --no-deps";
        env.RUSTDOCFLAGS = "--deny warnings";
      }
    );
  };
}
