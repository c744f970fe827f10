"""The files of a run: its folder, its log, its checkpoints."""
