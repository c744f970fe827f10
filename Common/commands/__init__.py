"""Running commands: exit codes, signals, redaction, and jobs in separate processes."""
