"""What the virtual machines do: a module per scenario, each with a function `run`."""
