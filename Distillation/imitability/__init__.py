"""Measure how well a teacher can be imitated: `python -m Distillation.imitability`."""
