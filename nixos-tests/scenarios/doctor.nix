_: {
  proves = "an executor starts on this kernel and every measurement of the doctor works, with all rungs of the ladder and with none";
  nodes.machine = { };
}
