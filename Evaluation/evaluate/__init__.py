"""Whole episodes on named seeds, and their figures: `python -m Evaluation.evaluate`."""

from Evaluation.evaluate.episodes import EpisodeStats, run_episodes

__all__ = ["EpisodeStats", "run_episodes"]
