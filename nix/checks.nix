# The checks of .ci/checks that a build sandbox can run, each by the command that stands
# there, and a static build.
{
  pkgs,
  cargo,
  crane,
}:
let
  inherit (pkgs) lib;
  inherit (cargo) craneLib dev;

  # A line of the table: name, where, limit in seconds, command.
  parse =
    line:
    let
      fields = builtins.match "([a-z-]+) +(here|flake|both) +([0-9]+) +(.*)" line;
    in
    if fields == null then
      throw ".ci/checks: cannot read the line: ${line}"
    else
      {
        name = lib.elemAt fields 0;
        where = lib.elemAt fields 1;
        command = lib.elemAt fields 3;
      };
  says = line: line != "" && !lib.hasPrefix "#" line;
  table = map parse (lib.filter says (lib.splitString "\n" (builtins.readFile ../.ci/checks)));
  ours = lib.groupBy (row: row.name) (lib.filter (row: row.where != "here") table);

  check =
    name: rows:
    craneLib.mkCargoDerivation (
      dev
      // {
        pnameSuffix = "-${name}";
        nativeBuildInputs = with pkgs; [
          cargo-deny
          clippy
          deadnix
          jq
          mypy
          nix
          nixfmt
          python3
          rustfmt
          statix
        ];
        postPatch = "patchShebangs .ci";
        buildPhaseCargoCommand = ".ci/run ${name}";
        doInstallCargoArtifacts = false;
        meta = cargo.meta // {
          description = lib.concatMapStringsSep "; " (row: row.command) rows;
        };
      }
    );

  # The same set of tests as the package, against musl and with nothing to load.
  static =
    let
      musl = import ./cargo.nix {
        pkgs = pkgs.pkgsStatic;
        inherit crane;
      };
    in
    (import ./package.nix {
      inherit pkgs;
      cargo = musl;
    }).glommio-tests.overrideAttrs
      (old: {
        doInstallCheck = true;
        installCheckPhase = ''
          for program in "$out"/libexec/glommio-tests/*; do
            if readelf --program-headers "$program" 2>/dev/null | grep --quiet INTERP; then
              echo "$program needs a dynamic loader" >&2
              exit 1
            fi
          done
          "$out/bin/glommio-tests" list
        '';
        meta = old.meta // {
          description = "Every test of glommio, linked statically against musl";
        };
      });
in
lib.mapAttrs check ours // { inherit static; }
