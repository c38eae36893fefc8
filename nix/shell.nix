# The shell of `nix develop`: the toolchain, and the tools the docs mention.
{ pkgs }:
let
  inherit (pkgs) lib;
in
pkgs.mkShell {
  packages =
    with pkgs;
    [
      cargo
      cargo-deny
      cargo-nextest
      clippy
      hyperfine
      jq
      nixfmt
      python3
      qemu
      rust-analyzer
      rustc
      rustfmt
    ]
    ++ lib.optionals stdenv.hostPlatform.isLinux [
      gdb
      perf
      strace
      valgrind
    ];

  # rust-analyzer reads the standard library's source from here.
  env.RUST_SRC_PATH = "${pkgs.rustPlatform.rustLibSrc}";

  shellHook = ''
    echo "glommio: $(rustc --version)"
    echo "  cargo run --release --example doctor    what this machine offers"
    echo "  cargo test --workspace                  every test"
  '';
}
