"""Share the running statistics of `VecNormalize` among ranks.

Between rollouts they are the same on every rank, and equal to those of one process with all
environments. Within a rollout each rank updates them with its own environments only: joining them
at every step would make each step wait for the slowest rank.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from Algorithm.distributed import gather, world_size
from Algorithm.env_state import all_statistics

Moments = list[tuple[np.ndarray, np.ndarray, float]]  # mean, variance and count of each statistic


def moments(env: VecEnv) -> Moments:
    """Return the moments of all statistics for `join_statistics`; empty in a run of one process."""
    if world_size() == 1:
        return []
    return [(np.array(rms.mean), np.array(rms.var), rms.count) for rms in all_statistics(env)]


def join_statistics(env: VecEnv, before: Moments) -> None:
    """Set the statistics of every rank to those of all ranks' samples.

    Args:
        before: `moments` at the time when all ranks were equal.
    """
    if world_size() == 1:
        return
    now = [(mean.tolist(), var.tolist(), float(count)) for mean, var, count in moments(env)]
    each = gather(now)
    for index, (rms, old) in enumerate(zip(all_statistics(env), before, strict=True)):
        mean, var, count = joint_moments(old, [of_rank[index] for of_rank in each])
        rms.mean, rms.var, rms.count = mean[()], var[()], count


def joint_moments(before: Any, each: list[Any]) -> tuple[np.ndarray, np.ndarray, float]:
    """Return mean, variance and count of the samples of `before` and those added by each rank.

    With m, v and c before, and m_r, v_r and c_r now on rank r, that rank's own samples x have
    sum (x - m) = c_r (m_r - m) and sum (x - m)^2 = c_r (v_r + (m_r - m)^2) - c v.
    """
    old_mean, old_var, old_count = before
    first, second, count = np.zeros_like(old_mean), old_count * old_var, old_count
    for rank_mean, rank_var, rank_count in each:
        shift = np.asarray(rank_mean) - old_mean
        first = first + rank_count * shift
        second = second + rank_count * (np.asarray(rank_var) + shift**2) - old_count * old_var
        count += rank_count - old_count
    return old_mean + first / count, second / count - (first / count) ** 2, count
