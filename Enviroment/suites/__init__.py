"""The tasks of each suite, and environments of one's own."""
