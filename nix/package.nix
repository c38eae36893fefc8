# What cargo builds: { doctor, echo, benches, docs, glommio-tests }.
{ pkgs, cargo }:
let
  inherit (pkgs) lib;
  inherit (cargo) craneLib release dev;

  about =
    description: mainProgram:
    cargo.meta
    // {
      inherit description;
    }
    // lib.optionalAttrs (mainProgram != null) { inherit mainProgram; };

  # An example of the crate, as the program of another name.
  example =
    name: program: description:
    craneLib.buildPackage (
      release
      // {
        pname = "glommio-${name}";
        cargoExtraArgs = "--locked --package glommio --example ${name}";
        postInstall = lib.optionalString (name != program) ''
          mv "$out/bin/${name}" "$out/bin/${program}"
        '';
        meta = about description program;
      }
    );
in
{
  doctor =
    example "doctor" "doctor"
      "Report what a machine offers to the glommio runtime, and measure it";

  # coreutils have an `echo` already.
  echo =
    example "echo" "glommio-echo"
      "An echo server on glommio, and a client that checks its answers";

  benches = craneLib.buildPackage (
    release
    // {
      pname = "glommio-benches";
      cargoExtraArgs = "--locked --package glommio-benches --bins";
      meta = about "Compare glommio with io_uring by hand and with sockets, and measure how it scales" "compare";
    }
  );

  docs = craneLib.cargoDoc (
    release
    // {
      cargoDocExtraArgs = "--package glommio --no-deps --features debugging,metrics";
      meta = about "The documentation of glommio's API as a website" null;
    }
  );

  # Every test executable, and a program that runs them wherever they are copied to.
  glommio-tests = craneLib.mkCargoDerivation (
    dev
    // {
      pnameSuffix = "-tests";
      buildPhaseCargoCommand = ''
        cargo run --locked --package glommio-tests -- build --locked --out "$out/libexec/glommio-tests"
      '';
      installPhaseCommand = ''
        mkdir -p "$out/bin"
        ln -s ../libexec/glommio-tests/glommio-tests "$out/bin/glommio-tests"
      '';
      doInstallCargoArtifacts = false;
      meta = about "Every test of glommio in one folder, and a program that runs them on any kernel" "glommio-tests";
    }
  );
}
