"""What a run starts from: a teacher, another run's student, a dataset."""
