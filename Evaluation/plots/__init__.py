"""Draw learning curves: `python -m Evaluation.plots`."""
