"""Stepping and drawing a task's environments in parallel, and storing their state."""
