"""Film teacher and students on one seed: `python -m Evaluation.side_by_side`."""
