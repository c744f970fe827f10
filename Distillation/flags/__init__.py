"""Command-line flags: declaration, defaults per suite, parsing and resolution."""
