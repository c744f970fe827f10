"""Learning curves: `python -m Evaluation.plots`."""
