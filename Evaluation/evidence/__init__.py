"""The list of every table and figure of the results, and checks of their numbers."""
