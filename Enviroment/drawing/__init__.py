"""From a simulation to pixels."""
