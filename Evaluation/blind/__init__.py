"""Measure the return of a blind student, the zero of skill: `python -m Evaluation.blind`."""
