"""Time until a student has reached a skill."""
