"""Show which pixels actions depend on: `python -m Evaluation.saliency`."""
