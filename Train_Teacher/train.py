"""Trains a state teacher with SB3's SAC or PPO, and ends with its bundle.

`python Train_Teacher/<Task>.py --algo {sac,ppo}`; `--help` lists every flag.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

import torch
import tyro
from stable_baselines3.common.callbacks import CallbackList
from stable_baselines3.common.logger import Logger

from Enviroment import seeds
from Enviroment.errors import EXIT_BAD_INPUT, UserError
from Enviroment.make import make_state_env
from Enviroment.tasks import Task, get_task
from Evaluation.run_folder import clear
from Evaluation.tracking import RunTracker, write_config
from Models.device import resolve_device
from Train_Teacher import run_folder
from Train_Teacher.agent import make_agent, normalise
from Train_Teacher.callbacks import EvaluateAndCheckpoint, TeacherProgressBar
from Train_Teacher.checkpoint import Progress, find_best, find_newest, restore
from Train_Teacher.config import (
    Algo,
    PPOTeacherConfig,
    SACTeacherConfig,
    TeacherRun,
    default_settings,
)
from Train_Teacher.finish import finish

EXIT_INTERRUPTED = 130
_EVALUATION_ENVS = 10
_LOG_EVERY = {"ppo": 1, "sac": 100}  # rollouts; episodes
_FRESH = Progress(steps=0, updates=0, episodes=0, best_return=None, evaluation={})


def main(task_name: str, arguments: list[str] | None = None) -> None:
    """The whole command. Bad input ends it with exit code 2 and one message on stderr."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        run = parse(task_name, arguments)
        command = ["python", f"Train_Teacher/{task_name}.py", *arguments]
        train(get_task(task_name), run, command)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)
    except KeyboardInterrupt:
        print("\nInterrupted. The same command with --resume goes on.", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)


def parse(task_name: str, arguments: list[str]) -> TeacherRun:
    """The flags; those of the settings default to what suits the task and algorithm."""
    # The algorithm decides which further flags there are, so it is read first.
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--algo", default="sac")
    algo: Algo = "ppo" if first.parse_known_args(arguments)[0].algo == "ppo" else "sac"
    other = "sac" if algo == "ppo" else "ppo"
    settings_class = PPOTeacherConfig if algo == "ppo" else SACTeacherConfig
    return tyro.cli(
        TeacherRun[settings_class],
        args=arguments,
        prog=f"Train_Teacher/{task_name}.py",
        description=(
            f"Train a {task_name} teacher that sees the state. The settings below are those of "
            f"--algo {algo}; add --help to --algo {other} for the other's."
        ),
        default=TeacherRun(algo=algo, settings=default_settings(task_name, algo)),
        config=(tyro.conf.OmitArgPrefixes,),
        use_underscores=True,
    )


def train(task: Task, run: TeacherRun, command: list[str]) -> Path:
    """Trains, or goes on, up to the run's total, and writes the bundle.

    Returns: the run folder, whose `teacher/` is the bundle.

    Raises:
        UserError: before any work, for whatever the flags ask that cannot be done.
    """
    folder = run_folder.locate(run.output, task.name, run.algo, run.run_index)
    config = {"task": task.name, "run": asdict(run)}
    run_folder.check(folder, config, resume=run.resume, overwrite=run.overwrite)
    device = resolve_device(run.device)
    torch.set_num_threads(run.threads)

    found = find_newest(folder / "checkpoints") if run.resume else None
    if run.resume and found is None:
        print(f"{folder} has no checkpoint to go on from: it starts anew.", file=sys.stderr)
    if run.overwrite:
        clear(folder)
    if not run.resume:  # the record of how the run began stays
        write_config(folder, config, teacher_sha256=None, command=command)
    tracker = RunTracker(
        folder,
        wandb_mode=run.wandb,
        project=f"teacher-{task.name.lower()}",
        name=folder.name,
        config=config,
    )
    try:
        if found is None or found[1].steps < run.settings.total_timesteps:
            _learn(task, run, folder / "checkpoints", device, found, tracker)
        best = find_best(folder / "checkpoints")
        if best is None:
            raise UserError(f"{folder} has no undamaged best checkpoint. Train anew.")
        finish(task, run, folder, best, command, tracker)
    finally:
        tracker.close()
    return folder


def _learn(
    task: Task,
    run: TeacherRun,
    checkpoints: Path,
    device: torch.device,
    found: tuple[Path, Progress] | None,
    tracker: RunTracker,
) -> None:
    """Learns from the checkpoint `found`, or from the beginning, up to the run's total."""
    settings = run.settings
    start = _FRESH if found is None else found[1]
    env = normalise(make_state_env(task, settings.num_envs, 0), settings)
    eval_env = make_state_env(task, min(_EVALUATION_ENVS, run.eval_episodes), 0)
    try:
        agent = make_agent(settings, env, device, seeds.model(run.run_index))
        if found is not None:
            restore(found[0], agent, start)
        env.seed(_first_seed(run, start))
        agent.set_logger(Logger(None, [tracker]))
        watch = EvaluateAndCheckpoint(
            task, eval_env, checkpoints, run.eval_every, run.eval_episodes, start
        )
        agent.learn(
            # SB3 adds the steps already made, so that its schedules see the same total as before.
            settings.total_timesteps - agent.num_timesteps,
            callback=CallbackList([watch, TeacherProgressBar()]),
            log_interval=_LOG_EVERY[run.algo],
            reset_num_timesteps=False,
        )
    finally:
        env.close()
        eval_env.close()


def _first_seed(run: TeacherRun, start: Progress) -> int:
    """Past every episode that the run has already started, in any environment."""
    block = seeds.teacher_training(run.run_index)
    return block.start + start.episodes * run.settings.num_envs
