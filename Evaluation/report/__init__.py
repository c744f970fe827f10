"""Make a static page of runs: `python -m Evaluation.report`."""
