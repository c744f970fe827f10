"""Finish a teacher's run: bundle of the best checkpoint, baselines, video and curves."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.logger import Logger

from Common.commands.redaction import command_line
from Common.errors import UserError
from Common.files.bounded_read import read_json
from Common.files.durable import write_file
from Common.names import counted
from Common.program import as_typed
from Common.runs.files import CONFIG_FILE
from Common.runs.run_folder import CHECKPOINTS, FINISHED, TEACHER
from Common.runs.tracking import RunTracker, package_versions
from Enviroment import seeds
from Enviroment.action_range import has_range
from Enviroment.custom import rules_of
from Enviroment.make import make_env
from Enviroment.tasks import Task
from Evaluation.evaluate.episodes import (
    Act,
    EpisodeStats,
    do_nothing,
    policy_act,
    random_policy,
    run_episodes,
)
from Evaluation.evaluate.figures import note_alike
from Evaluation.plots.run_curves import (
    BLACK,
    BLUE,
    GRAY,
    GREEN,
    SKY,
    VERMILION,
    Level,
    Line,
    Panel,
    curves_or_warning,
)
from Evaluation.video import record_video
from Models.teacher.policy import Teacher, save_teacher
from Train_Teacher.agent import make_teacher_env
from Train_Teacher.checkpoint import Best
from Train_Teacher.messages import blind_advice
from Train_Teacher.settings.config import TeacherRun

_ENVS = 10
_SEEDS = {"validation": seeds.VALIDATION, "evaluation": seeds.EVALUATION}

Results = dict[str, dict[str, EpisodeStats]]  # policy -> seeds' name -> episodes


def finish(
    task: Task,
    run: TeacherRun,
    folder: Path,
    best: Best,
    command: list[str],
    tracker: RunTracker,
) -> None:
    """Write `folder/teacher`, `videos/` and `curves.png`, and print a summary.

    The metrics are those of the teacher in the bundle, not of the SB3 agent.

    Args:
        best: the best teacher.
        command: command of this process; that of a resumed run is in its `config.json`.
    """
    description = replace(
        best.description,
        command=_whole_command(folder, run, command),
        versions=package_versions(),
        rules=rules_of(task),
    )
    teacher = Teacher(description, best.tensors)
    results = _measure(task, run, teacher)
    note_alike(results["teacher"]["evaluation"], "the teacher")
    baselines = {
        policy: {name: stats.returns.tolist() for name, stats in by_seeds.items()}
        for policy, by_seeds in results.items()
    }
    successes = {
        policy: {name: known for name, stats in by_seeds.items() if (known := stats.successes)}
        for policy, by_seeds in results.items()
    }
    successes = {policy: by_seeds for policy, by_seeds in successes.items() if by_seeds}
    description = replace(description, baselines=baselines, successes=successes)
    notes = _bundle_notes(task, run, best.steps, results)
    save_teacher(folder / TEACHER, best.tensors, description, notes)

    logger = Logger(None, [tracker])
    for name, stats in results["teacher"].items():
        for key, value in stats.summary(f"final/{name}_").items():
            logger.record(key, value)
    logger.dump(best.steps)
    curves = curves_or_warning(folder, _panels(task, results))
    seen = run.video and task.has_frames
    video = _record(task, teacher, folder, best.steps) if seen else None
    if video is not None:
        tracker.video("final/episode", video, best.steps)
    _print_summary(task, best.steps, results)
    print(f"Teacher: {folder / 'teacher'}" + (f"\nCurves:  {curves}" if curves else ""))
    if task.custom:
        print(as_typed(blind_advice(task, folder / TEACHER, command)))


def is_finished(folder: Path, run: TeacherRun, steps: int) -> bool:
    """Return whether `finish` has nothing to do: it has written this bundle, which is undamaged.

    It has something to do for a run that was trained longer, or with other baseline episodes.

    Args:
        steps: env steps of the newest checkpoint.
    """
    try:
        Teacher.load(folder / TEACHER)
        return read_json(folder / CHECKPOINTS / FINISHED) == _finished(run, steps)
    except (UserError, OSError, ValueError):
        return False


def mark_finished(folder: Path, run: TeacherRun, steps: int) -> None:
    """Mark the run in a folder as finished, after `finish`; see `is_finished`.

    Raises:
        UserError: the marker cannot be written.
    """
    write_file(folder / CHECKPOINTS / FINISHED, json.dumps(_finished(run, steps)).encode())


def _finished(run: TeacherRun, steps: int) -> dict[str, int]:
    return {"env_steps": steps, "baseline_episodes": run.baseline_episodes}


def _measure(task: Task, run: TeacherRun, teacher: Teacher) -> Results:
    n_episodes = run.baseline_episodes
    env = make_teacher_env(task, run.settings, min(_ENVS, n_episodes), 0)
    space = env.action_space
    policies: dict[str, Callable[[int], Act]] = {
        "teacher": lambda seed: _teacher_act(task, teacher, seed),
    }
    if not isinstance(space, spaces.Box) or has_range(space):
        policies["random"] = lambda seed: random_policy(space, seed)
    if not task.is_game:  # a game may wait for its player for hours
        policies["nothing"] = lambda seed: do_nothing(space)
    try:
        teacher.check_fits(task.name, env.observation_space, space)
        return {
            policy: {
                name: run_episodes(make_act(block.start), env, task, block.start, n_episodes)
                for name, block in _SEEDS.items()
            }
            for policy, make_act in policies.items()
        }
    finally:
        env.close()


def _teacher_act(task: Task, teacher: Teacher, seed: int) -> Act:
    torch.manual_seed(seed)  # for sampled actions
    return policy_act(teacher, deterministic=task.judged_by_mode)


def _whole_command(folder: Path, run: TeacherRun, command: list[str]) -> str:
    """Return the commands that reproduce this teacher: the first one, then an extension."""
    resumed = command_line(command)
    if not run.resume:
        return resumed
    began = read_json(folder / CONFIG_FILE)
    same_total = (
        began["config"]["run"]["settings"]["total_timesteps"] == run.settings.total_timesteps
    )
    return began["command"] if same_total else f"{began['command']} && {resumed}"


def _bundle_notes(task: Task, run: TeacherRun, steps: int, results: Results) -> dict[str, Any]:
    """Return documentation for the bundle: settings, seeds and metrics."""
    n_episodes = run.baseline_episodes
    return {
        "settings": asdict(run.settings),
        "run_index": run.run_index,
        "trained_env_steps": steps,
        "observation": _observation(task),
        "seeds": {
            name: [block.start, block.start + n_episodes - 1] for name, block in _SEEDS.items()
        },
        "metrics": {
            policy: {name: stats.summary() for name, stats in by_seeds.items()}
            for policy, by_seeds in results.items()
        },
    }


def _observation(task: Task) -> dict[str, str]:
    if task.is_game:
        return {"frame": f"uint8 frames of EnvPool's {task.env_id}, newest last"}
    return {"state": f"raw float32 observations of Gymnasium's {task.env_id}"}


def _panels(task: Task, results: Results) -> tuple[Panel, ...]:
    nothing = results.get("nothing")
    baseline = "random" if nothing is None else "do nothing"
    level = float(np.mean((nothing or results["random"])["validation"].returns))
    distance = "distance" if task.distance is None else task.distance.name
    return (
        Panel(
            "Return of an episode",
            (
                Line("rollout/ep_rew_mean", "training, exploring", SKY, "-."),
                Line("rollout/ep_return", "training, exploring", SKY, "-."),
                Line("eval/return", "validation seeds (95%)", BLUE),
            ),
            (Level(level, baseline, GRAY, ":"),),
            columns=2,
        ),
        Panel("Final distance, validation seeds [m]", (Line(f"eval/{distance}", "", BLUE),)),
        Panel(
            "Share of successes",
            (
                Line("rollout/success_rate", "training, exploring", SKY, "-."),
                Line("eval/success", "validation seeds", BLUE),
            ),
        ),
        Panel(
            "Value loss",
            (Line("train/value_loss", "", BLACK), Line("train/critic_loss", "", BLACK)),
            log=True,
        ),
        Panel("Entropy coefficient", (Line("train/ent_coef", "", GREEN),), log=True),
        Panel("Standard deviation of actions", (Line("train/std", "", GREEN),), log=True),
        Panel("Learning rate", (Line("train/learning_rate", "", VERMILION),)),
    )


def _record(task: Task, teacher: Teacher, folder: Path, steps: int) -> Path | None:
    """Record a video and return its path; print a warning and return None if impossible."""
    path = folder / "videos" / f"step_{steps:012d}.mp4"
    try:
        env = make_env(task, 1, seeds.VALIDATION.start)
    except Exception as error:
        print(f"No video: {error}", file=sys.stderr)
        return None
    try:
        act = _teacher_act(task, teacher, seeds.VALIDATION.start)
        return record_video(act, env, task, path, seeds.VALIDATION.start).path
    finally:
        env.close()


def _print_summary(task: Task, steps: int, results: Results) -> None:
    distance = None if task.distance is None else task.distance.name
    known = results["teacher"]["validation"].summary()
    columns = [c for c in ("return", "return_std", distance, "success", "near") if c in known]
    n_episodes = len(results["teacher"]["validation"].returns)
    print(f"\nBest checkpoint: {steps:,} steps. Over {counted(n_episodes, 'episode')} each:")
    print(f"{'':24}" + "".join(f"  {column:>20}" for column in columns))
    for policy, by_seeds in results.items():
        for name, stats in by_seeds.items():
            figures = stats.summary()
            cells = "".join(
                f"  {figures.get(column, nan):>{max(20, len(column))}.3f}" for column in columns
            )
            print(f"{policy + ', ' + name:24}{cells}")
