"""Show the random looks that a student is trained on: `python -m Evaluation.look`."""
