"""Grids of runs, here or on a cluster."""
