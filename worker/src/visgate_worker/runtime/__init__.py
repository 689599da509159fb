"""How a pipeline is executed."""
