"""Test whether a student uses its frames: `python -m Evaluation.sight`."""
