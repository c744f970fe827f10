"""How commands run: exit codes, signals, redaction, and jobs in processes of their own."""
