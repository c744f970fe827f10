"""Export a student for deployment: `python -m Evaluation.export`."""
