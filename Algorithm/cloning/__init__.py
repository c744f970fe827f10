"""Learn from labels: behavioural cloning and DAgger."""
