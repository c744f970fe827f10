"""Callbacks of training: evaluation and progress."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter
from stable_baselines3.common.vec_env import VecEnv
from tqdm import tqdm

from Common.commands.progress import LINE_INTERVAL
from Common.errors import UserError
from Enviroment import seeds
from Enviroment.tasks import Task
from Evaluation.evaluate.episodes import (
    Act,
    EpisodeStats,
    agreement,
    policy_act,
    run_episodes,
    skill,
)


class EvaluationCallback(BaseCallback):
    """Evaluates the student over whole deterministic episodes and saves the best student.

    It evaluates before the first step, every `eval_every` steps (`num_timesteps`: env steps, or
    gradient steps in cloning) between two updates, and after the last update. It always plays the
    same episodes: ID, the first training seeds, and OD, validation seeds that are never used for
    training. Each evaluation is a separate logging point with the keys

    - `eval/id_*` and `eval/od_*`: `EpisodeStats.summary`, e.g. `eval/od_return`,
      `eval/od_success`, `eval/od_object_goal_distance`;
    - `eval/<policy>_return` and `eval/<policy>_success` for each baseline, e.g.
      `eval/teacher_return`, on the OD seeds;
    - `eval/od_skill`, if the returns of both the teacher and a blind student are known;
    - `eval/id_skill`, if `take_skill` is given;
    - `eval/action_accuracy`, with a teacher and bounded actions, in the student's OD states;
    - `eval/seconds`: duration of the evaluation;
    - `time/env_steps` and `time/gradient_steps` at the evaluation, if the model has `counters`.

    Args:
        env: environments for evaluation only, with the settings of training (blind, frame size).
            The caller closes them.
        task: the task, whose distance is reported.
        id_seed: first seed of training, or of its dataset.
        eval_every: steps between evaluations.
        n_episodes: number of ID episodes, and of OD episodes.
        baselines: return of each policy ("teacher", "blind", "nothing", "random") on each seed
            from `seeds.VALIDATION[0]` on, as stored in the teacher's bundle.
        successes: likewise, 1.0 for a successful episode; policies may be missing.
        teacher: the teacher to compare actions with.
        save_best: called when the mean OD return exceeds `best_return`.
        take_skill: called with the ID skill after each evaluation, for training that depends on
            it; OD seeds have no influence. The skill is an estimate: the returns of teacher and
            blind student on ID seeds are unknown, so those on OD seeds are used.
        best_return: return that the first best student has to exceed.

    Raises:
        UserError: fewer than 1 step or episode, baselines over fewer than `n_episodes` seeds, a
            teacher that is not better than blind, or required skill that is unknown.
    """

    _CAPTURED = ("best_return", "best_step", "_next", "_latest")

    def __init__(
        self,
        env: VecEnv,
        task: Task,
        *,
        id_seed: int,
        eval_every: int,
        n_episodes: int,
        baselines: Mapping[str, Sequence[float]],
        successes: Mapping[str, Sequence[float]] | None = None,
        teacher: Act | None = None,
        save_best: Callable[[EpisodeStats], None] | None = None,
        take_skill: Callable[[float], None] | None = None,
        best_return: float = -np.inf,
    ) -> None:
        super().__init__()
        if eval_every < 1 or n_episodes < 1:
            raise UserError(
                f"`eval_every` {eval_every} and `n_episodes` {n_episodes} must be at least 1."
            )
        self.best_return = best_return
        self.best_step = -1  # of the evaluation with the best return
        self.id_stats: EpisodeStats | None = None  # of the latest evaluation
        self.od_stats: EpisodeStats | None = None
        self._env = env
        self._task = task
        self._id_seed = id_seed
        self._eval_every = eval_every
        self._n_episodes = n_episodes
        self._baselines = _on_first_seeds(baselines, n_episodes)
        self._successes = _on_first_seeds(successes or {}, n_episodes)
        self._teacher = teacher
        self._save_best = save_best
        self._take_skill = take_skill
        self._next = 0  # step of the next evaluation
        self._latest = -1  # step of the latest evaluation
        if self._skill_is_known():
            self._skill(self._baselines["teacher"])  # raises errors before training
        elif take_skill is not None:
            raise UserError(
                "`lambda_schedule` skill needs the returns of the teacher and of a blind student, "
                f"but the teacher's bundle has those of {', '.join(baselines) or 'none'}. Train a "
                "student with `blind`, then run `python -m Evaluation.blind RUN`."
            )

    def _on_rollout_start(self) -> None:
        if self.num_timesteps >= self._next:
            self.evaluate()
            self._next = self.num_timesteps + self._eval_every

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        if self._latest != self.num_timesteps:
            self.evaluate()

    def capture(self) -> dict[str, Any]:
        """Return the state for `restore`: the next evaluation and the best student so far."""
        return {name: getattr(self, name) for name in self._CAPTURED}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a state of `capture`."""
        for name in self._CAPTURED:
            setattr(self, name, state[name])

    def evaluate(self) -> None:
        """Evaluate the current student, log the figures, and save it if it is the best."""
        started = time.perf_counter()
        self._latest = self.num_timesteps
        act = policy_act(self.model, deterministic=self._task.judged_by_mode)
        measures = {}
        if self._teacher is not None:
            measures = agreement(self._teacher, self._env.action_space)
        self.id_stats = run_episodes(act, self._env, self._task, self._id_seed, self._n_episodes)
        self.od_stats = run_episodes(
            act, self._env, self._task, seeds.VALIDATION.start, self._n_episodes, measures
        )
        if self._take_skill is not None:
            self._take_skill(self._skill(self.id_stats.returns))
        self._log(self.id_stats, self.od_stats, time.perf_counter() - started)
        od_return = float(self.od_stats.returns.mean())
        if od_return > self.best_return:
            self.best_return, self.best_step = od_return, self.num_timesteps
            if self._save_best is not None:
                self._save_best(self.od_stats)

    def _log(self, id_stats: EpisodeStats, od_stats: EpisodeStats, seconds: float) -> None:
        figures = id_stats.summary("eval/id_") | od_stats.summary("eval/od_")
        for name, returns in self._baselines.items():
            figures[f"eval/{name}_return"] = float(returns.mean())
        for name, of_policy in self._successes.items():
            figures[f"eval/{name}_success"] = float(of_policy.mean())
        if self._skill_is_known():
            figures["eval/od_skill"] = self._skill(od_stats.returns)
        if self._take_skill is not None:
            figures["eval/id_skill"] = self._skill(id_stats.returns)
        for name, values in od_stats.measures.items():
            figures[f"eval/{name}"] = float(values.mean())
        figures["eval/seconds"] = seconds
        counters: Mapping[str, int] = getattr(self.model, "counters", {})
        figures |= {f"time/{name}": count for name, count in counters.items()}
        for key, value in figures.items():
            self.logger.record(key, value)
        # Dump now: the algorithm's next dump is one rollout later, at another step.
        self.logger.dump(self.num_timesteps)

    def _skill_is_known(self) -> bool:
        return {"teacher", "blind"} <= self._baselines.keys()

    def _skill(self, returns: np.ndarray) -> float:
        return skill(returns, self._baselines["teacher"], self._baselines["blind"])


def _on_first_seeds(
    baselines: Mapping[str, Sequence[float]], n_episodes: int
) -> dict[str, np.ndarray]:
    for name, returns in baselines.items():
        if len(returns) < n_episodes:
            raise UserError(
                f"`n_episodes` {n_episodes} exceeds the {len(returns)} seeds on which the "
                f"teacher's bundle has the return of {name!r}. Use at most {len(returns)}."
            )
    return {name: np.asarray(returns)[:n_episodes] for name, returns in baselines.items()}


class ProgressBar(BaseCallback):
    """Shows steps per second, return and KL: as a bar on a terminal, else a line every 10 seconds.

    Return and KL are the latest logged values.

    Args:
        stream: the stream to print to; default: standard error.
        clock: function that returns seconds.
    """

    _SHOWN = (("return", "rollout/ep_return"), ("KL", "train/kl"))

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._logged = _LatestValues()
        self._bar: tqdm | None = None

    def _on_training_start(self) -> None:
        self._total = int(self.locals["total_timesteps"])
        self._first_step = self.model.num_timesteps  # not 0 in a resumed run
        self._started = self._clock()
        self._line_due = self._started + LINE_INTERVAL
        self.logger.output_formats.append(self._logged)
        if self._stream.isatty():
            self._bar = tqdm(
                total=self._total,
                initial=self._first_step,
                file=self._stream,
                unit=" steps",
                dynamic_ncols=True,
            )

    def _on_step(self) -> bool:
        if self._bar is not None:
            self._bar.set_postfix_str(self._figures(), refresh=False)
            self._bar.update(self.num_timesteps - self._bar.n)
        elif self._clock() >= self._line_due:
            self._line_due = self._clock() + LINE_INTERVAL
            self._print_line()
        return True

    def _on_training_end(self) -> None:
        self.logger.output_formats.remove(self._logged)
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        else:
            self._print_line()

    def _print_line(self) -> None:
        seconds = max(self._clock() - self._started, 1e-9)
        rate = (self.num_timesteps - self._first_step) / seconds
        progress = f"{self.num_timesteps:,} of {self._total:,} steps, {rate:,.0f} steps/s"
        line = ", ".join(part for part in (progress, self._figures()) if part)
        print(line, file=self._stream, flush=True)

    def _figures(self) -> str:
        shown = [
            f"{label} {self._logged.values[key]:.3g}"
            for label, key in self._SHOWN
            if key in self._logged.values
        ]
        return ", ".join(shown)


class _LatestValues(KVWriter):
    """Keeps the latest logged values, which the logger clears with every dump."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def write(
        self,
        key_values: dict[str, Any],
        key_excluded: dict[str, tuple[str, ...]],
        step: int = 0,
    ) -> None:
        self.values.update(key_values)

    def close(self) -> None:
        pass
