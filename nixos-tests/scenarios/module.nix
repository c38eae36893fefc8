{ module, ... }:
{
  proves = "a host with nixosModules.default has the limits it promises and runs the echo example as a hardened service";
  nodes.host = {
    imports = [ module ];
    glommio = {
      enable = true;
      lockedMemoryMiB = 256;
      openFiles = 65536;
      ioUring = "group";
      ioUringGroup = 4242;
      echo.enable = true;
    };
    users.groups.uring.gid = 4242;
    # DynamicUser makes the user; membership in the group is what lets it use io_uring.
    systemd.services.glommio-echo.serviceConfig.SupplementaryGroups = [ "uring" ];
    users.users.bob = {
      isNormalUser = true;
      extraGroups = [ "uring" ];
    };
  };
}
