_: {
  proves = "TCP and UDP between two machines survive many connections and a cable that is pulled and put back";
  nodes = {
    client = { };
    server = {
      networking.firewall.allowedTCPPorts = [ 7000 ];
      networking.firewall.allowedUDPPorts = [ 7000 ];
    };
  };
}
