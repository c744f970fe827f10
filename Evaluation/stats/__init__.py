"""Compute statistics over runs and environments: `python -m Evaluation.stats`."""
