"""The skill at which training may end, and its confirmation on further validation seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from Common.errors import UserError
from Enviroment import seeds
from Enviroment.tasks import Task
from Evaluation.evaluate.episodes import Act, run_episodes, skill

_OWNERS = {"teacher": "the teacher", "blind": "a blind student"}
_TIMES = 2  # seeds that confirm the skill, relative to those of an evaluation


@dataclass(frozen=True)
class SkillTarget:
    """A skill to reach in two evaluations of one student, on different validation seeds.

    An evaluation of 20 episodes has a skill that varies by 0.05 or so. Of several evaluations near
    the target, the first to exceed it is likely a lucky one. Twice as many other seeds decide.
    """

    skill: float
    first_seed: int  # of the confirmation
    teacher: np.ndarray  # returns `(episodes,)` on its seeds
    blind: np.ndarray

    @classmethod
    def of(
        cls, skill: float, baselines: Mapping[str, Sequence[float]], n_episodes: int
    ) -> SkillTarget:
        """Return the target.

        Args:
            baselines: return of each policy on each seed from `seeds.VALIDATION[0]` on.
            n_episodes: episodes of an evaluation, whose seeds are the first.

        Raises:
            UserError: the return of the teacher or of a blind student is unknown, or on too few
                seeds.
        """
        known = {name: len(baselines.get(name, ())) for name in ("teacher", "blind")}
        if missing := [_OWNERS[name] for name, number in known.items() if not number]:
            raise UserError(
                f"`until_skill` {skill} needs the return of {' and '.join(missing)}, which the "
                "teacher's bundle lacks. Train a student with `blind`, then run "
                "`python -m Evaluation.blind RUN`; or leave out `until_skill`."
            )
        fewest = min(known.values())
        stop = n_episodes * (1 + _TIMES)
        if fewest < stop:
            raise UserError(
                f"`until_skill` needs {stop} validation seeds: the {n_episodes} of `n_episodes`, "
                f"and {_TIMES} times as many to confirm. The teacher's bundle has returns on "
                f"{fewest}: set `n_episodes` to at most {fewest // (1 + _TIMES)}."
            )
        further = slice(n_episodes, stop)
        returns = (np.asarray(baselines[name])[further] for name in ("teacher", "blind"))
        return cls(skill, seeds.VALIDATION.start + n_episodes, *returns)

    @property
    def n_episodes(self) -> int:
        """Return the number of episodes of the confirmation."""
        return len(self.teacher)

    def measure(self, act: Act, env: VecEnv, task: Task) -> float:
        """Return the skill on the further seeds."""
        stats = run_episodes(act, env, task, self.first_seed, self.n_episodes)
        return skill(stats.returns, self.teacher, self.blind)
