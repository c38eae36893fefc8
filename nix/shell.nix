# The shell of `nix develop`: the toolchain, and the tools that the docs mention.
{ pkgs }:
let
  inherit (pkgs) lib;
in
pkgs.mkShell {
  name = "glommio";
  meta.description = "Rust and every tool that the documentation of glommio mentions";

  packages =
    with pkgs;
    [
      cargo
      cargo-deny
      cargo-nextest
      clippy
      deadnix
      hyperfine
      jq
      mypy
      nixfmt
      python3
      qemu
      rust-analyzer
      rustc
      rustfmt
      statix
    ]
    ++ lib.optionals stdenv.hostPlatform.isLinux [
      gdb
      perf
      strace
      valgrind
    ];

  # rust-analyzer reads the standard library's source from here.
  env.RUST_SRC_PATH = "${pkgs.rustPlatform.rustLibSrc}";

  shellHook =
    if pkgs.stdenv.hostPlatform.isLinux then
      ''
        echo "glommio: $(rustc --version)"
        echo "  cargo run --release --example doctor    what this machine offers"
        echo "  cargo test --workspace                  every test"
      ''
    else
      ''
        echo "glommio: $(rustc --version); it runs on Linux only"
        echo "  cargo fmt, rust-analyzer                editing works here"
        echo "  docs/nix.md, macOS                      building and testing in a Linux machine"
      '';
}
