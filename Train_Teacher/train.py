"""Train a teacher with SAC, TQC or PPO, or REINFORCE or actor-critic of the study, and save it."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.callbacks import CallbackList
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from Common.commands.signals import StopSignals
from Common.device import resolve_device
from Common.errors import UserError
from Common.files.locks import locked
from Common.runs import run_folder
from Common.runs.checkpoint import Checkpoint, CheckpointStore
from Common.runs.files import CONFIG_FILE
from Common.runs.run_folder import CHECKPOINTS
from Common.runs.tensorboard_files import check_tensorboard
from Common.runs.tracking import RunTracker, write_config
from Common.runs.wandb_run import WandbLabels
from Enviroment import seeds
from Enviroment.custom import describe_custom
from Enviroment.suites.envpool_games import load_envpool
from Enviroment.tasks import Task
from Train_Teacher.agent import make_agent, make_teacher_env, normalise
from Train_Teacher.callbacks import EvaluateAndCheckpoint, TeacherProgressBar
from Train_Teacher.checkpoint import Progress, find_best, find_newest, restore
from Train_Teacher.finish import finish, is_finished, mark_finished
from Train_Teacher.messages import banner, ending, next_commands
from Train_Teacher.settings.config import SACTeacherConfig, TeacherRun
from Train_Teacher.settings.goals import check_goals, put_off_training

_EVALUATION_ENVS = 10
# in rollouts (PPO), episodes (SAC, TQC), and updates of one episode each (others)
_LOG_EVERY = {"ppo": 1, "sac": 100, "tqc": 100, "reinforce": 10, "actor_critic": 10}
_FRESH = Progress(steps=0, updates=0, episodes=0, evaluation={})
# Settings that may change on --resume.
_MAY_DIFFER = (
    *("run.output", "run.overwrite", "run.resume", "run.device", "run.threads", "run.wandb"),
    *("run.tensorboard", "run.video", "run.baseline_episodes"),
    "run.settings.total_timesteps",
)


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
        if run.tensorboard:
            check_tensorboard()
        settings = run.settings
        if isinstance(settings, SACTeacherConfig) and settings.hindsight_goals:
            check_goals(task, settings)
        make_teacher_env(task, settings, 1, 0).close()  # raises before the folder is created, too
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
        is_trained = found is not None and found[1].steps >= run.settings.total_timesteps
        if found is not None and is_trained and is_finished(folder, run, found[1].steps):
            print(
                f"The training in {folder} is finished: there is nothing to do. A larger "
                "--total_timesteps continues it."
            )
            return folder
        if found is None:
            if run.resume:
                print(f"{folder} has no checkpoint: it starts from the beginning.", file=sys.stderr)
            run_folder.clear(folder)  # from here on, the folder holds a run
            write_config(folder, config, teacher_sha256=None, command=command)
        tracker = _make_tracker(task, run, folder, config, found)
        stack.callback(tracker.close)
        print(banner(task, run, folder, device, tracker), flush=True)
        if found is None or not is_trained:
            steps = _learn(task, run, checkpoints, device, found, tracker, signals)
        else:  # the run may have been killed before pruning
            steps = found[1].steps
            CheckpointStore(checkpoints).prune(found[0].step)
        best = find_best(checkpoints)
        if best is None:
            raise UserError(f"{folder} has no undamaged best checkpoint. Train again.")
        finish(task, run, folder, best, command, tracker)
        mark_finished(folder, run, steps)
        print("\nnext:", *next_commands(task, run, folder, command), sep="\n  ", flush=True)
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
        labels=WandbLabels(
            f"{task.name}-teacher-{folder.name}",
            kind="teacher",
            group=f"{task.name}-teacher-{run.algo.upper()}",
            tags=(task.name, "teacher", run.algo.upper()),
        ),
        config=config,
        tensorboard=run.tensorboard,
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
) -> int:
    """Train from the checkpoint `found`, or from scratch, up to the run's total.

    Returns:
        The env steps of the last checkpoint.
    """
    settings = run.settings
    start = _FRESH if found is None else found[1]
    env = normalise(make_teacher_env(task, settings, settings.num_envs, 0), settings)
    eval_env = make_teacher_env(task, settings, min(_EVALUATION_ENVS, run.eval_episodes), 0)
    try:
        agent = make_agent(settings, env, device, seeds.model(run.run_index))
        if found is not None:
            print(f"Resuming from {found[0].path}.", flush=True)
            restore(found[0], agent, start)
            if isinstance(agent, OffPolicyAlgorithm):
                put_off_training(agent, task, settings.total_timesteps)
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
                callback=CallbackList([TeacherProgressBar(watch.times, ending(run)), watch]),
                log_interval=_LOG_EVERY[run.algo],
                reset_num_timesteps=False,
            )
        return agent.num_timesteps
    finally:
        env.close()
        eval_env.close()


def _first_seed(run: TeacherRun, start: Progress) -> int:
    """Return the first seed after those of all episodes that the run has started."""
    block = seeds.teacher_training(run.run_index)
    return seeds.further(block.start, start.episodes * run.settings.num_envs)
