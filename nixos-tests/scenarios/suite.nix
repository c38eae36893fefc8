{ pkgs, lib, ... }:
let
  disk = serial: {
    size = 4096;
    driveConfig.deviceExtraOpts = { inherit serial; };
  };

  nvme = pkgs.runCommand "nvme.qcow2" { nativeBuildInputs = [ pkgs.qemu-utils ]; } ''
    qemu-img create -f qcow2 "$out" 4G
  '';
in
{
  proves = "every test passes on this kernel, in every pass, with its files on tmpfs, ext4, xfs and an NVMe disk with poll queues";
  nodes.machine = {
    boot = {
      supportedFilesystems = {
        ext4 = true;
        xfs = true;
      };
      # Queues without interrupts, which completions are polled from.
      kernelParams = [ "nvme.poll_queues=2" ];
      kernelModules = [ "nvme" ];
    };
    virtualisation = {
      memorySize = lib.mkForce 3072;
      emptyDiskImages = map disk [
        "ext4"
        "xfs"
      ];
      # What is written goes to a temporary file beside it.
      qemu.options = [
        "-drive if=none,id=nvme,format=qcow2,snapshot=on,file=${nvme}"
        "-device nvme,serial=poll,drive=nvme,max_ioqpairs=8"
      ];
    };
  };
}
