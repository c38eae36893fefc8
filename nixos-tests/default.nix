# One virtual machine per kernel, each a derivation: { vm-6_12, vm-latest, … }.
#
# Scenario `doctor`: on that kernel an executor starts, every measurement of the
# doctor works, and it works again with every optional rung switched off.
{ pkgs, doctor }:
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

  packagesOf =
    kernel: if kernel == "latest" then pkgs.linuxPackages_latest else pkgs."linuxPackages_${kernel}";

  # A kernel that nixpkgs has dropped is skipped aloud, not an error.
  offered =
    kernel:
    let
      found = builtins.tryEval (packagesOf kernel).kernel.version;
    in
    found.success || builtins.trace "nixpkgs has no kernel ${kernel}: its test is skipped" false;

  test =
    kernel:
    pkgs.testers.runNixOSTest {
      name = "glommio-doctor-${kernel}";
      nodes.machine = {
        boot.kernelPackages = packagesOf kernel;
        environment.systemPackages = [ doctor ];
        virtualisation.cores = 2;
        virtualisation.memorySize = 1024;
      };
      testScript = ''
        import json

        def examine(environment):
            command = f"{environment} doctor --json --seconds 0.5 --dir /var/tmp"
            report = json.loads(machine.succeed(command))
            assert report["verdict"]["can_run"], report["verdict"]["error"]
            for result in report["benchmarks"]["results"]:
                assert result["error"] is None, result
                assert result["measured"]["operations"] > 0, result
            return report["system"]["ladder"]

        machine.wait_for_unit("multi-user.target")
        machine.log(machine.succeed("uname -r"))

        with subtest("with the rungs that this kernel has"):
            for rung in examine(""):
                machine.log(f"{rung['name']}: {rung['available']}")

        with subtest("with every optional rung switched off"):
            assert all(rung["disabled_by_knob"] for rung in examine("GLOMMIO_DISABLE=all"))
      '';
    };
in
lib.listToAttrs (
  map (kernel: lib.nameValuePair "vm-${kernel}" (test kernel)) (lib.filter offered kernels)
)
