# `nixosModules.default`: a host on which programs on glommio run well, and the echo
# example as a service, as a pattern for services of your own.
{ self }:
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.glommio;
  inherit (lib) mkEnableOption mkIf mkOption;
  inherit (lib.types)
    enum
    ints
    nullOr
    package
    port
    str
    ;

  lockedMemory = "${toString cfg.lockedMemoryMiB}M";

  # The sysctl came with Linux 6.6; setting it on an older kernel is an error.
  hasSwitch = lib.versionAtLeast config.boot.kernelPackages.kernel.version "6.6";
in
{
  options.glommio = {
    enable = mkEnableOption "limits and sysctls that programs on glommio want";

    lockedMemoryMiB = mkOption {
      type = ints.positive;
      default = 1024;
      description = ''
        Memory that a process may lock (RLIMIT_MEMLOCK), for logins and services. An
        executor wants up to 10 MiB for buffers that it registers with the kernel, and
        on kernels other than 5.12 to 6.13 up to 512 KiB for its ring.
      '';
    };

    openFiles = mkOption {
      type = ints.positive;
      default = 1048576;
      description = ''
        Files that a process may have open (RLIMIT_NOFILE), for logins and services.
        Every connection takes one.
      '';
    };

    ioUring = mkOption {
      type = enum [
        "everybody"
        "group"
        "nobody"
      ];
      default = "everybody";
      description = ''
        Who may use io_uring: the sysctl kernel.io_uring_disabled. With "group" it is
        the administrators and the members of {option}`glommio.ioUringGroup`.
      '';
    };

    ioUringGroup = mkOption {
      type = nullOr ints.unsigned;
      default = null;
      description = "Number of the group that may use io_uring: kernel.io_uring_group.";
    };

    echo = {
      enable = mkEnableOption "the echo example as a hardened service";

      package = mkOption {
        type = package;
        default = self.packages.${pkgs.stdenv.hostPlatform.system}.echo;
        defaultText = lib.literalExpression "glommio.packages.\${system}.echo";
        description = "The package with the program `echo`.";
      };

      address = mkOption {
        type = str;
        default = "[::]";
        description = "Address to listen on; the default is all of them.";
      };

      port = mkOption {
        type = port;
        default = 7000;
        description = "Port to listen on.";
      };

      openFirewall = mkEnableOption "the port in the firewall";
    };
  };

  config = lib.mkMerge [
    (mkIf cfg.enable {
      assertions = [
        {
          assertion = cfg.ioUring == "everybody" || hasSwitch;
          message = "glommio.ioUring: Linux ${config.boot.kernelPackages.kernel.version} cannot restrict io_uring; that came with 6.6.";
        }
      ];

      boot.kernel.sysctl = mkIf hasSwitch {
        "kernel.io_uring_disabled" =
          {
            everybody = 0;
            group = 1;
            nobody = 2;
          }
          .${cfg.ioUring};
        "kernel.io_uring_group" = mkIf (cfg.ioUringGroup != null) cfg.ioUringGroup;
      };

      # Logins.
      security.pam.loginLimits =
        let
          limit = item: value: {
            domain = "*";
            type = "-";
            inherit item value;
          };
        in
        [
          (limit "memlock" (toString (cfg.lockedMemoryMiB * 1024)))
          (limit "nofile" (toString cfg.openFiles))
        ];

      # Services that say nothing else.
      systemd.settings.Manager = {
        DefaultLimitMEMLOCK = lockedMemory;
        DefaultLimitNOFILE = cfg.openFiles;
      };
    })

    (mkIf cfg.echo.enable {
      networking.firewall.allowedTCPPorts = mkIf cfg.echo.openFirewall [ cfg.echo.port ];

      systemd.services.glommio-echo = {
        description = "Echo server on glommio";
        wantedBy = [ "multi-user.target" ];
        after = [ "network.target" ];
        serviceConfig = {
          ExecStart = "${lib.getExe cfg.echo.package} serve ${cfg.echo.address}:${toString cfg.echo.port}";
          Restart = "on-failure";

          LimitMEMLOCK = lockedMemory;
          LimitNOFILE = cfg.openFiles;

          # A user of its own that may do nothing but what this list leaves.
          DynamicUser = true;
          AmbientCapabilities = mkIf (cfg.echo.port < 1024) [ "CAP_NET_BIND_SERVICE" ];
          CapabilityBoundingSet = if cfg.echo.port < 1024 then [ "CAP_NET_BIND_SERVICE" ] else [ "" ];
          # @system-service has the calls of io_uring (they are in @aio), and
          # sched_setaffinity, which pins an executor to its CPU.
          SystemCallArchitectures = "native";
          SystemCallFilter = [
            "@system-service"
            "~@privileged"
            "~@resources"
            "sched_setaffinity"
          ];
          SystemCallErrorNumber = "EPERM";
          RestrictAddressFamilies = [
            "AF_INET"
            "AF_INET6"
          ];
          DevicePolicy = "closed";
          LockPersonality = true;
          MemoryDenyWriteExecute = true;
          NoNewPrivileges = true;
          PrivateDevices = true;
          PrivateTmp = true;
          PrivateUsers = cfg.echo.port >= 1024;
          ProtectClock = true;
          ProtectControlGroups = true;
          ProtectHome = true;
          ProtectHostname = true;
          ProtectKernelLogs = true;
          ProtectKernelModules = true;
          ProtectKernelTunables = true;
          ProtectProc = "invisible";
          ProtectSystem = "strict";
          RemoveIPC = true;
          RestrictNamespaces = true;
          RestrictRealtime = true;
          RestrictSUIDSGID = true;
          UMask = "0077";
        };
      };
    })
  ];
}
