"""Evaluate students over whole episodes on fixed seeds: `python -m Evaluation.evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from Common.lazy import lazy

if TYPE_CHECKING:
    from Evaluation.evaluate.episodes import EpisodeStats, run_episodes

__all__ = ["EpisodeStats", "run_episodes"]
# Lazily, so that flags are parsed fast.
__getattr__ = lazy(__name__, {"episodes": ("EpisodeStats", "run_episodes")})
