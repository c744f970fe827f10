"""Settings of the teachers, and their defaults per task."""
