"""`make gpu-check`: check and measure the toolkit on a GPU within minutes."""
