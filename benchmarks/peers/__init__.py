"""What people would use instead, on the same frames, teacher, seeds and env steps."""
