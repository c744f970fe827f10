"""Measure a student's robustness to perturbations: `python -m Evaluation.robustness`."""
