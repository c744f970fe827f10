"""Learning from labels: behavioural cloning and DAgger."""
