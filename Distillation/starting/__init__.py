"""Inputs of a run: the teacher, an initial student, a cloned run, datasets."""
