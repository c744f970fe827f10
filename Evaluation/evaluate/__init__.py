"""Evaluate students over whole episodes on fixed seeds: `python -m Evaluation.evaluate`."""

from Evaluation.evaluate.episodes import EpisodeStats, run_episodes

__all__ = ["EpisodeStats", "run_episodes"]
