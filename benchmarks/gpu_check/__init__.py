"""`make gpu-check`: what the toolkit does on a GPU, checked and measured in minutes."""
