"""Show a shipped student beside its teacher: `python -m Evaluation.demo`."""
