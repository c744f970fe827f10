"""Step and render a task's environments in parallel, and store their state."""
