_: {
  proves = "where io_uring is refused, the error names the cause and the cure, and nothing crashes";
  nodes.machine = { };
}
