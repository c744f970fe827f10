"""Test whether proprioception predicts the state: `python -m Evaluation.linear_probe`."""
