"""What a run prints about itself: its banner, and the commands that come next."""
