"""SB3's normalisation of rewards, without its copies of observations on a GPU."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.vec_env import VecEnv, VecNormalize


class RewardNormaliser(VecNormalize):
    """`VecNormalize` that never normalises observations.

    SB3 copies them nevertheless, the last ones of episodes one by one. If a thousand environments
    are simulated on a GPU, that takes a seventh of a rollout, so tensors are returned uncopied:
    environments that return tensors make new ones in each step.

    Args:
        norm_reward, gamma: see `VecNormalize`.
    """

    def __init__(self, env: VecEnv, *, norm_reward: bool, gamma: float) -> None:
        super().__init__(env, norm_obs=False, norm_reward=norm_reward, gamma=gamma)
        self._copies = not getattr(env.unwrapped, "gives_tensors", False)

    def normalize_obs(self, obs: Any) -> Any:
        """Return a copy of the observations, or the same tensors."""
        return super().normalize_obs(obs) if self._copies else obs
