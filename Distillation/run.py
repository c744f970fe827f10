"""One run: flags -> environments, teacher, student, algorithm -> run folder."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from stable_baselines3.common.callbacks import CallbackList
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from Algorithm.ppd import PPD
from Distillation.flags import Flags, parse
from Distillation.report import report
from Enviroment import seeds
from Enviroment.errors import EXIT_BAD_INPUT, UserError
from Enviroment.make import make_env
from Enviroment.observations import PROPRIO, STATE
from Enviroment.tasks import Task, get_task
from Evaluation import run_folder
from Evaluation.callbacks import EvaluationCallback, ProgressBar
from Evaluation.evaluate import EpisodeStats, policy_act
from Evaluation.tracking import RunTracker, write_config
from Models.device import resolve_device
from Models.impala import fastest_precision
from Models.student import StudentConfig, StudentPolicy, save_student
from Models.teacher import Teacher

EXIT_INTERRUPTED = 130
_EVALUATION_ENVS = 10


def main(task_name: str, arguments: Sequence[str] | None = None) -> None:
    """The whole command. Bad input ends it with exit code 2 and one message on stderr."""
    arguments = sys.argv[1:] if arguments is None else arguments
    command = ["python", f"Distillation/{task_name}.py", *arguments]
    try:
        task = get_task(task_name)
        run(task, parse(task, arguments), command)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)
    except KeyboardInterrupt:
        print("\nInterrupted. The best student so far is in the run folder.", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)


def run(task: Task, flags: Flags, command: Sequence[str]) -> Path:
    """Trains a student and reports on it.

    Returns:
        The run folder.

    Raises:
        UserError: before the first step and before anything is written, for whatever the flags
            ask that cannot be done; later only for numbers that are not finite.
    """
    method = flags.method.name
    task = dataclasses.replace(task, frame_size=flags.frame_size)
    folder = run_folder.locate(flags.run.output, Path(task.name) / method / flags.run_name())
    run_folder.check_free(folder, overwrite=flags.run.overwrite)
    device = resolve_device(flags.run.device)
    torch.set_num_threads(flags.run.threads or len(os.sched_getaffinity(0)))
    teacher = _load_teacher(task, flags, device)
    env, eval_env = _make_envs(task, flags)
    try:
        model = _make_algorithm(task, env, teacher, flags, device)
        if flags.run.overwrite:
            run_folder.clear(folder)
        config = {"task": task.name, "method": method, **dataclasses.asdict(flags)}
        sha256 = teacher.description.sha256
        write_config(folder, config, teacher_sha256=sha256, command=command)
        name = f"{task.name}-{method}-{folder.name}"
        tracker = RunTracker(
            folder,
            wandb_mode=flags.run.wandb,
            project="vision-distillation",
            name=name,
            config=config,
        )
        try:
            _train(task, flags, folder, model, teacher, eval_env, tracker)
            report(task, flags, folder, teacher, eval_env, tracker)
        finally:
            tracker.close()
    finally:
        env.close()
        eval_env.close()
    return folder


def _train(
    task: Task,
    flags: Flags,
    folder: Path,
    model: PPD,
    teacher: Teacher,
    eval_env: VecEnv,
    tracker: RunTracker,
) -> None:
    """Learns, and leaves the student with the best return on the validation seeds."""
    assert isinstance(model.policy, StudentPolicy)
    notes = {"task": task.name, "frame_interval": task.frame_interval, "method": flags.method.name}

    def save_best(stats: EpisodeStats) -> None:
        figures = {"env_steps": model.num_timesteps, **stats.summary("validation_")}
        save_student(model.policy, folder / run_folder.STUDENT, {**notes, "training": figures})  # pyright: ignore[reportArgumentType]

    evaluation = EvaluationCallback(
        eval_env,
        task,
        run_index=flags.training.run_index,
        eval_every=flags.run.eval_every,
        n_episodes=flags.run.eval_episodes,
        baselines={
            name: returns["validation"] for name, returns in teacher.description.baselines.items()
        },
        teacher=policy_act(teacher),
        save_best=save_best,
    )
    model.set_logger(Logger(None, [tracker]))
    model.learn(flags.training.total_timesteps, CallbackList([evaluation, ProgressBar()]))


def _load_teacher(task: Task, flags: Flags, device: torch.device) -> Teacher:
    folder = flags.teaching.teacher
    if folder is None:
        folder = run_folder.RESULTS / task.name / "teachers" / "sac"
    return Teacher.load(folder, device, min_std=flags.teaching.min_teacher_std)


def _make_envs(task: Task, flags: Flags) -> tuple[VecEnv, VecEnv]:
    """Those to train in, with normalised rewards, and those to evaluate in."""
    training, run_ = flags.training, flags.run
    # A student of the state sees no frames, so none are drawn for it.
    blind = flags.student.blind or flags.student.mode == "State"
    first = seeds.training(training.run_index).start
    env = make_env(
        task, training.num_envs, first, blind=blind, n_workers=_workers(flags, training.num_envs)
    )
    n_eval = min(_EVALUATION_ENVS, run_.eval_episodes)
    eval_env = make_env(
        task, n_eval, seeds.VALIDATION.start, blind=blind, n_workers=_workers(flags, n_eval)
    )
    return VecNormalize(env, norm_obs=False, gamma=training.gamma), eval_env


def _workers(flags: Flags, n_envs: int) -> int | None:
    return None if flags.run.threads is None else min(flags.run.threads, n_envs)


def _make_algorithm(
    task: Task, env: VecEnv, teacher: Teacher, flags: Flags, device: torch.device
) -> PPD:
    run_index = flags.training.run_index
    mean, std = (statistic.cpu().numpy() for statistic in teacher.normaliser())
    joints = task.proprio_indices
    config = StudentConfig(
        mode=flags.student.mode,
        family=teacher.description.family,
        pooling=flags.student.pooling,
        critic_on_state=flags.student.critic_on_state,
        precision=fastest_precision(device),
    )
    model = PPD(
        StudentPolicy,
        env,
        # PPO alone has the teacher's normaliser and family of distributions, and no labels.
        teacher=None if flags.method.PPO else teacher,
        policy_kwargs={
            "config": config,
            "group_mean": {STATE: mean.tolist(), PROPRIO: mean[joints].tolist()},
            "group_std": {STATE: std.tolist(), PROPRIO: std[joints].tolist()},
            "optimizer_kwargs": {"eps": 1e-5, "fused": True},
        },
        seed=seeds.model(run_index),
        device=device,
        **dataclasses.asdict(flags.ppd()),
    )
    env.seed(seeds.training(run_index).start)  # SB3 has just seeded it with the model's seed
    return model
