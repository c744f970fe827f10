"""Train a teacher with SAC, TQC or PPO, or the study's REINFORCE or actor-critic, and save it.

`python Train_Teacher/<Task>.py --algo {sac,tqc,ppo,reinforce,actor_critic}`; `--help` lists flags.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
import tyro
from stable_baselines3.common.callbacks import CallbackList
from stable_baselines3.common.logger import Logger

from Common.commands.exits import exit_with_message
from Common.commands.signals import StopSignals
from Common.device import resolve_device
from Common.errors import UserError, fields_as_flags
from Common.files.locks import locked
from Common.runs import run_folder
from Common.runs.checkpoint import Checkpoint, CheckpointStore
from Common.runs.run_folder import CHECKPOINTS
from Common.runs.tracking import CONFIG_FILE, RunTracker, write_config
from Enviroment import seeds
from Enviroment.custom import describe_custom
from Enviroment.suites.envpool_games import load_envpool
from Enviroment.tasks import Task, get_task
from Train_Teacher.agent import make_agent, make_teacher_env, normalise
from Train_Teacher.callbacks import EvaluateAndCheckpoint, TeacherProgressBar
from Train_Teacher.checkpoint import Progress, find_best, find_newest, restore
from Train_Teacher.finish import finish
from Train_Teacher.goals import check_goals
from Train_Teacher.settings.config import (
    SETTINGS,
    Algo,
    PPOTeacherConfig,
    SACTeacherConfig,
    TeacherRun,
)
from Train_Teacher.settings.defaults import default_algo, default_run

_EVALUATION_ENVS = 10
# in rollouts (PPO), episodes (SAC, TQC), and updates of one episode each (others)
_LOG_EVERY = {"ppo": 1, "sac": 100, "tqc": 100, "reinforce": 10, "actor_critic": 10}
# Flags of the settings that messages of the lower packages name.
_FLAG_NAMES = {
    **{f.name: f.name for kind in (TeacherRun, *SETTINGS.values()) for f in fields(kind)},
    "n_envs": "num_envs",
    "folder": "output",
}
_FRESH = Progress(steps=0, updates=0, episodes=0, evaluation={})
# Settings that may change on --resume.
_MAY_DIFFER = (
    *("run.output", "run.overwrite", "run.resume", "run.device", "run.threads", "run.wandb"),
    *("run.video", "run.baseline_episodes", "run.settings.total_timesteps"),
)


def main(
    task: str | Task, arguments: list[str] | None = None, command: list[str] | None = None
) -> None:
    """Run the command. Bad input exits with code 2 and one message on stderr.

    Args:
        task: a task, or the name of one in the registry.
        command: the command as it was typed; default: that of the task's script.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    ending = exit_with_message("Continue with the same command and --resume.")
    with ending, fields_as_flags(_FLAG_NAMES):
        task = get_task(task) if isinstance(task, str) else task
        run = parse(task, arguments)
        command = command or ["python", *f"Train_Teacher/{task.script}".split(), *arguments]
        train(task, run, command)


def parse(task: str | Task, arguments: list[str]) -> TeacherRun:
    """Return the flags, with defaults that depend on task and algorithm.

    Raises:
        UserError: the algorithm does not support the task, or values contradict each other.
        SystemExit: 2 for unknown flags or values, 0 after `--help` (tyro's).
    """
    task = get_task(task) if isinstance(task, str) else task
    # Read the algorithm first, because it determines the other flags.
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--algo", default=default_algo(task))
    given = first.parse_known_args(arguments)[0].algo
    algo: Algo = given if given in SETTINGS else "sac"  # tyro rejects unknown ones
    sees = "frames" if task.is_game else "the state"
    run = tyro.cli(
        TeacherRun[SETTINGS[algo]],
        args=arguments,
        prog=f"Train_Teacher/{task.script}",
        description=(
            f"Train a {task.name} teacher that observes {sees}. The settings below are those of "
            f"--algo {algo}; use --help with another --algo for its settings."
        ),
        default=default_run(task, algo),
        config=(tyro.conf.OmitArgPrefixes,),
        use_underscores=True,
    )
    settings = run.settings
    if isinstance(settings, PPOTeacherConfig) and settings.cnn != "impala" and not task.is_game:
        raise UserError(
            f"--cnn {settings.cnn} is for teachers that observe frames; a teacher of {task.name} "
            "observes the state and has no CNN."
        )
    return run


def train(task: Task, run: TeacherRun, command: list[str]) -> Path:
    """Train a teacher, or resume its training, and write the bundle.

    Returns: the run folder, with the bundle in `teacher/`.

    Raises:
        UserError: the flags cannot be satisfied, before any work; or later, if the disk is full.
        Stopped: SIGINT or SIGTERM arrived. A checkpoint is written if training has begun.
    """
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(StopSignals())
        if task.is_game:
            load_envpool(task)  # raises before the folder is created
        settings = run.settings
        if isinstance(settings, SACTeacherConfig) and settings.hindsight_goals:
            check_goals(task, settings.num_envs, settings.learning_starts)
        default = Path(task.name) / "Teacher" / f"{run.algo.upper()}_{run.run_index}"
        folder = run_folder.locate(run.output, default)
        stack.enter_context(locked(folder))
        given = {name: value for name, value in asdict(run).items() if value is not None}
        config = {"task": task.name, "run": given, **describe_custom(task)}
        _check_folder(folder, run, config)
        device = resolve_device(run.device)
        torch.set_num_threads(run.threads)

        checkpoints = folder / CHECKPOINTS
        found = find_newest(checkpoints) if run.resume else None
        if found is None:
            if run.resume:
                print(f"{folder} has no checkpoint: it starts from the beginning.", file=sys.stderr)
            run_folder.clear(folder)  # from here on, the folder holds a run
            write_config(folder, config, teacher_sha256=None, command=command)
        tracker = _make_tracker(task, run, folder, config, found)
        stack.callback(tracker.close)
        if found is None or found[1].steps < run.settings.total_timesteps:
            _learn(task, run, checkpoints, device, found, tracker, signals)
        else:  # the run may have been killed before pruning
            CheckpointStore(checkpoints).prune(found[0].step)
        best = find_best(checkpoints)
        if best is None:
            raise UserError(f"{folder} has no undamaged best checkpoint. Train again.")
        finish(task, run, folder, best, command, tracker)
    return folder


def _check_folder(folder: Path, run: TeacherRun, config: dict[str, Any]) -> None:
    """Raise UserError if a run would be overwritten or mixed with another."""
    hint = "Continue it with `resume`. "
    run_folder.check_free(folder, overwrite=run.overwrite, resume=run.resume, hint=hint)
    if run.resume and (folder / CONFIG_FILE).is_file():
        run_folder.check_same_settings(
            folder,
            config,
            teacher_sha256=None,
            may_differ=_MAY_DIFFER,
            comparable=_with_later_settings,
        )


def _with_later_settings(config: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of any version with the settings that older ones do not have."""
    run = config["run"]
    return {**config, "run": {**run, "settings": {"hindsight_goals": 0, **run["settings"]}}}


def _make_tracker(
    task: Task,
    run: TeacherRun,
    folder: Path,
    config: dict[str, Any],
    found: tuple[Checkpoint, Progress] | None,
) -> RunTracker:
    return RunTracker(
        folder,
        wandb_mode=run.wandb,
        project=f"teacher-{task.name.lower()}",
        name=folder.name,
        config=config,
        position=None if found is None else found[1].record,
    )


def _learn(
    task: Task,
    run: TeacherRun,
    checkpoints: Path,
    device: torch.device,
    found: tuple[Checkpoint, Progress] | None,
    tracker: RunTracker,
    signals: StopSignals,
) -> None:
    """Train from the checkpoint `found`, or from scratch, up to the run's total."""
    settings = run.settings
    start = _FRESH if found is None else found[1]
    env = normalise(make_teacher_env(task, settings, settings.num_envs, 0), settings)
    eval_env = make_teacher_env(task, settings, min(_EVALUATION_ENVS, run.eval_episodes), 0)
    try:
        agent = make_agent(settings, env, device, seeds.model(run.run_index))
        if found is not None:
            restore(found[0], agent, start)
        env.seed(_first_seed(run, start))
        agent.set_logger(Logger(None, [tracker]))
        watch = EvaluateAndCheckpoint(
            *(task, eval_env, checkpoints, run.eval_every, run.eval_episodes),
            *(start, tracker, signals),
        )
        with signals.held():
            agent.learn(
                # SB3 adds the completed steps, so that its schedules use the same total as before.
                settings.total_timesteps - agent.num_timesteps,
                callback=CallbackList([watch, TeacherProgressBar()]),
                log_interval=_LOG_EVERY[run.algo],
                reset_num_timesteps=False,
            )
    finally:
        env.close()
        eval_env.close()


def _first_seed(run: TeacherRun, start: Progress) -> int:
    """Return the first seed after those of all episodes that the run has started."""
    block = seeds.teacher_training(run.run_index)
    return seeds.further(block.start, start.episodes * run.settings.num_envs)
