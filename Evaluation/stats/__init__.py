"""Statistics over runs and environments: `python -m Evaluation.stats`."""
