"""The command line: flags, their defaults per suite, and what they resolve to."""
