"""The tasks of each suite, and tasks of the user's own environments."""
