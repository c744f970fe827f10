"""Film a student's worst and best episodes: `python -m Evaluation.gallery`."""
