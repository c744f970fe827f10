"""Runs as one static page: `python -m Evaluation.report`."""
