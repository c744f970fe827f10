"""Evaluate during training: log and print the figures, keep the best student, end training."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from Common.commands.wording import short_count
from Common.errors import UserError
from Common.names import counted
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
from Evaluation.evaluate.progress_bar import EvaluationTimes, print_beside_bar
from Evaluation.evaluate.skill_target import SkillTarget
from Evaluation.video import Played, Recorder

Film = Callable[[Played, int], bool]  # an episode and its step -> whether there is a video


class EvaluationCallback(BaseCallback):
    """Evaluates the student over whole deterministic episodes and saves the best student.

    It evaluates before the first step, every `eval_every` steps (`num_timesteps`: env steps, or
    gradient steps in cloning) between two updates, and after the last update. It always plays the
    same episodes: ID, the first training seeds, and OD, validation seeds that are never used for
    training. Each evaluation is printed in one line, and is a separate logging point with the keys

    - `eval/id_*` and `eval/od_*`: `EpisodeStats.summary`, e.g. `eval/od_return`,
      `eval/od_success`, `eval/od_object_goal_distance`;
    - `eval/<policy>_return` and `eval/<policy>_success` for each baseline, e.g.
      `eval/teacher_return`, on the OD seeds;
    - `eval/od_skill`, if the returns of both the teacher and a blind student are known;
    - `eval/id_skill`, if `take_skill` is given;
    - `eval/confirmed_skill`, if `until_skill` was reached: the skill on further OD seeds;
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
        until_skill: training ends at the first evaluation before its end whose OD skill reaches
            this, if a second evaluation confirms it (`SkillTarget`). The best student is then that
            one.
        take_skill: called with the ID skill after each evaluation, for training that depends on
            it; OD seeds have no influence. The skill is an estimate: the returns of teacher and
            blind student on ID seeds are unknown, so those on OD seeds are used.
        best_return: return that the first best student has to exceed.

    Attributes:
        film: called with the first OD episode of each evaluation. None, or after it returned
            False: no episode is recorded.
        times: times of the evaluations.

    Raises:
        UserError: fewer than 1 step or episode, baselines over fewer than `n_episodes` seeds, a
            teacher that is not better than blind, or required skill that is unknown.
    """

    _CAPTURED = ("best_return", "best_step", "_next", "_latest", "reached")

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
        until_skill: float | None = None,
        best_return: float = -np.inf,
    ) -> None:
        super().__init__()
        if eval_every < 1 or n_episodes < 1:
            raise UserError(
                f"`eval_every` {eval_every} and `n_episodes` {n_episodes} must be at least 1."
            )
        self.best_return = best_return
        self.best_step = -1  # of the evaluation with the best return
        self.reached = False  # whether `until_skill` is reached, which ends training
        self.film: Film | None = None
        self.times = EvaluationTimes(eval_every)
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
        self._target = None
        if until_skill is not None:
            self._target = SkillTarget.of(until_skill, baselines, n_episodes)
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
        if self.num_timesteps >= self._next and not self.reached:
            self.evaluate()
            self._next = self.num_timesteps + self._eval_every
        if self.reached:  # now, or before the run was resumed
            self.model.stop_training = True  # pyright: ignore[reportAttributeAccessIssue]

    def _on_step(self) -> bool:
        return not self.reached  # for SB3's algorithms, which do not read `stop_training`

    def _on_training_end(self) -> None:
        if not self.reached and self._latest != self.num_timesteps:
            self.evaluate(at_end=True)

    def capture(self) -> dict[str, Any]:
        """Return the state for `restore`: the next evaluation and the best student so far."""
        return {name: getattr(self, name) for name in self._CAPTURED}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a state of `capture`."""
        for name in self._CAPTURED:
            setattr(self, name, {"reached": False, **state}[name])  # older checkpoints lack it

    def evaluate(self, *, at_end: bool = False) -> None:
        """Evaluate the current student, log and print the figures, and save it if it is the best.

        Args:
            at_end: training has ended already.
        """
        started = time.perf_counter()
        self._latest = self.num_timesteps
        act = policy_act(self.model, deterministic=self._task.judged_by_mode)
        measures = {}
        if self._teacher is not None:
            measures = agreement(self._teacher, self._env.action_space)
        recorder = None if self.film is None else Recorder(self._task)
        self.id_stats = run_episodes(act, self._env, self._task, self._id_seed, self._n_episodes)
        self.od_stats = od_stats = run_episodes(
            act, self._env, self._task, seeds.VALIDATION.start, self._n_episodes, measures, recorder
        )
        if self._take_skill is not None:
            self._take_skill(self._skill(self.id_stats.returns))
        figures = self._figures(self.id_stats, od_stats)
        if self._target is not None and not at_end:
            figures |= self._compare_with_target(self._target, figures["eval/od_skill"], act)
        figures["eval/seconds"] = time.perf_counter() - started
        self._log(figures)
        is_best = self.reached or figures["eval/od_return"] > self.best_return
        if is_best:
            self.best_return, self.best_step = figures["eval/od_return"], self.num_timesteps
            if self._save_best is not None:
                self._save_best(od_stats)
        print_beside_bar(self._line(figures, is_best=is_best))
        if recorder is not None and self.film is not None:
            self.film = self.film if self.film(recorder.played, self.num_timesteps) else None
        self.times.add(time.perf_counter() - started)

    def _compare_with_target(self, target: SkillTarget, skill: float, act: Act) -> dict[str, float]:
        if skill < target.skill:
            return {}
        confirmed = target.measure(act, self._env, self._task)
        self.reached = confirmed >= target.skill
        return {"eval/confirmed_skill": confirmed}

    def _figures(self, id_stats: EpisodeStats, od_stats: EpisodeStats) -> dict[str, float]:
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
        return figures

    def _log(self, figures: Mapping[str, float]) -> None:
        counters: Mapping[str, int] = getattr(self.model, "counters", {})
        times = {f"time/{name}": count for name, count in counters.items()}
        for key, value in {**figures, **times}.items():
            self.logger.record(key, value)
        # Dump now: the algorithm's next dump is one rollout later, at another step.
        self.logger.dump(self.num_timesteps)

    def _line(self, figures: Mapping[str, float], *, is_best: bool) -> str:
        line = evaluation_line(self.num_timesteps, figures, "eval/od_", is_best=is_best)
        if self._target is None or "eval/confirmed_skill" not in figures:
            return line
        verdict = "the target is reached" if self.reached else "not yet the target"
        return (
            f"{line}; skill {figures['eval/confirmed_skill']:.2f} on "
            f"{counted(self._target.n_episodes, 'further seed')}: {verdict}"
        )

    def _skill_is_known(self) -> bool:
        return {"teacher", "blind"} <= self._baselines.keys()

    def _skill(self, returns: np.ndarray) -> float:
        return skill(returns, self._baselines["teacher"], self._baselines["blind"])


def evaluation_line(step: int, figures: Mapping[str, float], prefix: str, *, is_best: bool) -> str:
    """Return the figures of an evaluation in a line.

    Args:
        step: env steps, or gradient steps in cloning.
        figures: `EpisodeStats.summary` with this prefix, and possibly the skill.
        is_best: the policy is the best so far.
    """
    parts = [f"return {figures[prefix + 'return']:.1f}"]
    if prefix + "skill" in figures:
        parts.append(f"skill {figures[prefix + 'skill']:.2f}")
    if prefix + "success" in figures:
        parts.append(f"success {figures[prefix + 'success']:.0%}")
    return f"eval {short_count(step)}: {', '.join(parts)}" + (" (best)" if is_best else "")


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
