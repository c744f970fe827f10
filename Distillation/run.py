"""One run: flags -> environments, teacher, student, algorithm -> run folder."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from stable_baselines3.common.callbacks import CallbackList
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecEnv

from Distillation.cloned_run import read_cloned_run
from Distillation.datasets import collect_dataset
from Distillation.flags import Flags, parse
from Distillation.methods import Learner, Setting, make_learner, make_student_env
from Distillation.report import report
from Enviroment import seeds
from Enviroment.errors import EXIT_BAD_INPUT, UserError
from Enviroment.tasks import Task, get_task
from Evaluation import run_folder
from Evaluation.callbacks import EvaluationCallback, ProgressBar
from Evaluation.evaluate import EpisodeStats, policy_act
from Evaluation.tracking import RunTracker, write_config
from Models.device import resolve_device
from Models.student import save_student
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
    """Trains a student and reports on it, or with `--C_data` collects a dataset.

    Returns:
        The run folder, or the dataset's.

    Raises:
        UserError: before the first step and before anything is written, for whatever the flags
            ask that cannot be done; later only for numbers that are not finite.
    """
    method = flags.method.name
    if method == "Dagger_phase" and flags.cloning.folder_Dagger is not None:
        flags = read_cloned_run(flags.cloning.folder_Dagger, task.name).flags(flags)
    task = dataclasses.replace(task, frame_size=flags.frame_size)
    device = resolve_device(flags.run.device)
    torch.set_num_threads(flags.run.threads or len(os.sched_getaffinity(0)))
    if flags.method.C_data:
        return collect_dataset(task, flags, _load_teacher(task, flags, torch.device("cpu")))
    folder = run_folder.locate(flags.run.output, Path(task.name) / method / flags.run_name())
    run_folder.check_free(folder, overwrite=flags.run.overwrite)
    teacher = _load_teacher(task, flags, device)
    n_eval = min(_EVALUATION_ENVS, flags.run.eval_episodes)
    with contextlib.ExitStack() as stack:
        eval_env = make_student_env(task, flags, n_eval, seeds.VALIDATION.start)
        stack.callback(eval_env.close)
        teacher.check_fits(task.name, eval_env.observation_space, eval_env.action_space)
        learner = make_learner(Setting(task, flags, teacher, device, eval_env), folder)
        if learner.env is not None:
            stack.callback(learner.env.close)
        evaluation = _make_evaluation(task, flags, folder, learner, teacher, eval_env)
        tracker = _start_run(task, flags, folder, teacher, command)
        stack.callback(tracker.close)
        learner.model.set_logger(Logger(None, [tracker]))
        learner.learn(CallbackList([evaluation, ProgressBar()]))
        report(task, flags, folder, teacher, eval_env, tracker)
    return folder


def _load_teacher(task: Task, flags: Flags, device: torch.device) -> Teacher:
    folder = flags.teaching.teacher or run_folder.default_teacher(task.name)
    return Teacher.load(folder, device, min_std=flags.teaching.min_teacher_std)


def _start_run(
    task: Task, flags: Flags, folder: Path, teacher: Teacher, command: Sequence[str]
) -> RunTracker:
    """Writes the run's configuration; from here on the folder holds a run."""
    if flags.run.overwrite:
        run_folder.clear(folder)
    method = flags.method.name
    config = {**dataclasses.asdict(flags), "task": task.name, "method": method}
    sha256 = teacher.description.sha256
    write_config(folder, config, teacher_sha256=sha256, command=command)
    return RunTracker(
        folder,
        wandb_mode=flags.run.wandb,
        project="vision-distillation",
        name=f"{task.name}-{method}-{folder.name}",
        config=config,
    )


def _make_evaluation(
    task: Task, flags: Flags, folder: Path, learner: Learner, teacher: Teacher, eval_env: VecEnv
) -> EvaluationCallback:
    """Evaluates during training, and keeps the student with the best validation return."""
    notes = {"task": task.name, "frame_interval": task.frame_interval, "method": flags.method.name}

    def save_best(stats: EpisodeStats) -> None:
        figures = {"steps": learner.model.num_timesteps, **stats.summary("validation_")}
        save_student(learner.policy, folder / run_folder.STUDENT, {**notes, "training": figures})

    return EvaluationCallback(
        eval_env,
        task,
        id_seed=learner.id_seed,
        eval_every=flags.eval_every,
        n_episodes=flags.run.eval_episodes,
        baselines={
            name: returns["validation"] for name, returns in teacher.description.baselines.items()
        },
        teacher=policy_act(teacher),
        save_best=save_best,
    )
