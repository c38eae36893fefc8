# NixOS virtual machines that test glommio: { vm-6_12, …, vm-latest, vm-network, vm-module }.
#
# A test is a kernel and a list of scenarios. A scenario is two files in scenarios/: NAME.nix
# says what it proves and which machines it takes, NAME.py has the function `run`, which takes
# those machines by their names. Machines of one name in several scenarios are one machine.
# tests/ runs the scripts against made-up machines, without NixOS.
{
  pkgs,
  packages,
  module,
}:
let
  inherit (pkgs) lib;

  kernels = [
    "5_10"
    "5_15"
    "6_1"
    "6_6"
    "6_12"
    "6_18"
    "latest"
  ];

  # A dropped kernel throws at first; later even its name is gone.
  packagesOf =
    kernel:
    if kernel == "latest" then
      pkgs.linuxPackages_latest
    else
      pkgs.linuxKernel.packages."linux_${kernel}" or (throw "nixpkgs has no kernel ${kernel}");

  # A kernel that nixpkgs has dropped is skipped aloud, not an error.
  offered =
    kernel:
    let
      found = builtins.tryEval (packagesOf kernel).kernel.version;
    in
    found.success || builtins.trace "nixpkgs has no kernel ${kernel}: its test is skipped" false;

  # What every machine has.
  machine = kernel: {
    boot.kernelPackages = packagesOf kernel;
    environment.systemPackages = [
      packages.doctor
      packages.echo
      packages.glommio-tests
      pkgs.jq
    ];
    users.users.alice.isNormalUser = true;
    virtualisation.cores = 2;
    virtualisation.memorySize = 2048;
  };

  scripts =
    python:
    python.buildPythonPackage {
      pname = "glommio-scenarios";
      version = "1";
      pyproject = true;
      src = lib.fileset.toSource {
        root = ./.;
        fileset = lib.fileset.unions [
          ./pyproject.toml
          ./scenarios
        ];
      };
      build-system = [ python.setuptools ];
      pythonImportsCheck = [ "scenarios" ];
    };

  # What a scenario needs: { proves, nodes }.
  load = name: { inherit name; } // import ./scenarios/${name}.nix { inherit pkgs lib module; };

  test =
    name: kernel: scenarioNames:
    let
      scenarios = map load scenarioNames;
      nodeNames = lib.unique (lib.concatMap (scenario: lib.attrNames scenario.nodes) scenarios);
      call =
        scenario:
        let
          machines = lib.concatMapStringsSep ", " (node: "${node}=${node}") (lib.attrNames scenario.nodes);
        in
        ''
          with subtest("${scenario.proves}"):
              ${scenario.name}.run(${machines})
        '';
      vm = pkgs.testers.runNixOSTest {
        name = "glommio-${name}";
        nodes = lib.genAttrs nodeNames (node: {
          imports = [
            (machine kernel)
          ]
          ++ map (scenario: scenario.nodes.${node} or { }) scenarios;
        });
        extraPythonPackages = python: [ (scripts python) ];
        testScript = ''
          from scenarios import ${lib.concatStringsSep ", " scenarioNames}

          start_all()
        ''
        + lib.concatMapStrings call scenarios;
      };
      description = "Linux ${(packagesOf kernel).kernel.version} in a virtual machine: ${
        lib.concatMapStringsSep "; " (scenario: scenario.proves) scenarios
      }";
    in
    vm
    // {
      meta = vm.meta // {
        inherit description;
      };
    };

  ofKernel =
    kernel:
    lib.nameValuePair "vm-${kernel}" (
      test "kernel-${kernel}" kernel [
        "doctor"
        "suite"
        "refusals"
      ]
    );
in
lib.listToAttrs (map ofKernel (lib.filter offered kernels))
// {
  vm-network = test "network" "latest" [ "network" ];
  vm-module = test "module" "latest" [ "module" ];
}
