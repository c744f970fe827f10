"""LeRobot's datasets, version 3.0: export, import, and reading of recordings.

LeRobot itself is not needed, only pyarrow.
"""
