"""One run: flags -> environments, teacher, student, algorithm -> run folder."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.callbacks import CallbackList
from stable_baselines3.common.logger import Logger

from Algorithm import distributed
from Common.commands.exits import exit_with_message
from Common.commands.signals import StopSignals
from Common.device import resolve_device
from Common.errors import EXIT_BAD_INPUT, fields_as_flags
from Common.files.locks import locked
from Common.runs import run_folder
from Common.runs.checkpoint import Checkpoint, CheckpointStore
from Common.runs.tracking import RunTracker, write_config
from Distillation.flags.in_force import settings_in_force
from Distillation.flags.names import FLAG_NAMES
from Distillation.flags.parse import default_values, parse
from Distillation.flags.ranks import flags_of_rank
from Distillation.flags.resolve import Flags
from Distillation.flags.uses import without_effect
from Distillation.methods import Learner, Setting, make_learner, make_student_env
from Distillation.report import report
from Distillation.resume import (
    Checkpointer,
    find_checkpoint,
    is_finished,
    mark_finished,
    position,
    restore,
)
from Distillation.starting.cloned_run import read_cloned_run
from Distillation.starting.initial_student import InitialStudent, read_initial_student
from Distillation.starting.teacher_data import collect_dataset
from Distillation.starting.teaching import load_teaching
from Enviroment import seeds
from Enviroment.custom import describe_custom
from Enviroment.tasks import Task, get_task
from Evaluation.evaluate.agreement import can_be_asked
from Evaluation.evaluate.callbacks import EvaluationCallback, ProgressBar
from Evaluation.evaluate.episodes import EpisodeStats, policy_act
from Models.student.bundle import save_student

_EVALUATION_ENVS = 10


def main(
    task: str | Task,
    arguments: Sequence[str] | None = None,
    command: Sequence[str] | None = None,
) -> None:
    """The whole command. Bad input ends it with exit code 2 and one message on stderr.

    Args:
        task: its name, or a task that the registry does not have.
        arguments: the flags; those of the command line if not given.
        command: what was typed, where it is more than the task's script and the flags.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    ending = exit_with_message(
        "The same command with --resume goes on.",
        print_error=distributed.print_error,
        print_stop=distributed.print_line,
    )
    with ending, fields_as_flags(FLAG_NAMES):
        try:
            task = get_task(task) if isinstance(task, str) else task
            script = ["python", *f"Distillation/{task.script}".split()]
            flags = parse(task, arguments)
            if note := without_effect(flags, default_values(task, flags.method.name)):
                distributed.print_line(note)
            run(task, flags, command or [*script, *arguments])
        except distributed.RankLostError:  # has spoken already
            sys.exit(EXIT_BAD_INPUT)


def run(task: Task, flags: Flags, command: Sequence[str]) -> Path:
    """Trains a student and reports on it, or with `--C_data` collects a dataset.

    Returns:
        The run folder, or the dataset's.

    Raises:
        UserError: before the first step and before anything is written, for whatever the flags
            ask that cannot be done; later for numbers that are not finite and full disks.
        Stopped: by SIGINT or SIGTERM, with a checkpoint if the training had begun.
    """
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(StopSignals())
        stack.enter_context(distributed.joined())
        flags, initial = _resolve(task, flags_of_rank(flags))
        task = dataclasses.replace(task, frame_size=flags.frame_size)
        torch.set_num_threads(flags.run.threads or len(os.sched_getaffinity(0)))
        if flags.method.chosen.family == "collection":
            teacher = load_teaching(task, flags, torch.device("cpu")).teacher
            return collect_dataset(task, flags, teacher)
        device = resolve_device(flags.run.device)
        default = Path(task.name) / flags.method.name / flags.run_name()
        folder = run_folder.locate(flags.run.output, default)
        if distributed.is_first():  # which alone writes
            stack.enter_context(locked(folder))
            run_folder.check_free(
                folder,
                overwrite=flags.run.overwrite,
                resume=flags.run.resume,
                hint="Go on with it by --resume. ",
            )
        teaching = load_teaching(task, flags, device)
        n_eval = min(_EVALUATION_ENVS, flags.run.eval_episodes)
        env = make_student_env(task, flags, n_eval, seeds.VALIDATION.start)
        stack.callback(env.close)
        teaching.teacher.check_fits(task.name, env.observation_space, env.action_space)
        setting = Setting(task, flags, teaching, device, env, initial)
        _distil(setting, folder, command, signals)
    return folder


def _distil(setting: Setting, folder: Path, command: Sequence[str], signals: StopSignals) -> None:
    """Trains from the beginning, or with `--resume` from the newest checkpoint, and reports."""
    config, sha256 = _configuration(setting), setting.teacher.description.sha256
    store = CheckpointStore(folder / run_folder.CHECKPOINTS, setting.flags.run.keep)
    found = None
    if setting.flags.run.resume:
        found = find_checkpoint(folder, store, config, sha256, setting.teaching.known_by)
        if is_finished(folder):
            distributed.print_line(f"The run in {folder} is finished: nothing is left to do.")
            return
        if found is None:
            distributed.print_line(f"{folder} has no checkpoint: it starts from the beginning.")
    with contextlib.ExitStack() as stack:
        learner = make_learner(setting, folder)
        if learner.env is not None:
            stack.callback(learner.env.close)
        evaluation = _make_evaluation(setting, folder, learner)
        tracker = None
        if distributed.is_first():
            if found is None:
                run_folder.clear(folder)  # from here on the folder holds a run
                write_config(
                    folder,
                    config,
                    teacher_sha256=sha256,
                    command=command,
                    teacher=setting.teaching.known_by,
                )
            tracker = _make_tracker(setting, folder, config, found)
            stack.callback(tracker.close)
        learner.model.set_logger(Logger(None, [] if tracker is None else [tracker]))
        checkpointer = Checkpointer(
            *(store, learner, evaluation, tracker, signals),
            every=setting.flags.checkpoint_every,
            minutes=setting.flags.run.checkpoint_minutes,
        )
        if found is not None:
            restore(found, learner, evaluation)
            checkpointer.begin_at(found.step)
        learner.model.on_boundary = checkpointer
        with signals.held():
            learner.learn(CallbackList([] if tracker is None else [evaluation, ProgressBar()]))
            checkpointer.save()
        if tracker is not None:
            report(
                *(setting.task, setting.flags, folder, setting.teaching, setting.eval_env, tracker),
                step=learner.model.num_timesteps,
            )
            mark_finished(folder)


def _resolve(task: Task, flags: Flags) -> tuple[Flags, InitialStudent | None]:
    """The flags with what the run takes over of another, and the student that it begins with."""
    if flags.method.chosen.takes("rounds") and flags.cloning.folder_Dagger is not None:
        return read_cloned_run(flags.cloning.folder_Dagger, task.name).flags(flags), None
    if flags.training.init_from is None:
        return flags, None
    initial = read_initial_student(flags.training.init_from)
    initial.check_task(task.name)
    return initial.flags(flags), initial


def _configuration(setting: Setting) -> dict[str, Any]:
    """What `config.json` says of the run."""
    names = {"task": setting.task.name, "method": setting.flags.method.name}
    own = describe_custom(setting.task)
    groups = settings_in_force(setting.flags)
    groups["run"] |= {"device": str(setting.device), "threads": torch.get_num_threads()}
    return {**groups, **names, **own, **setting.notes}


def _make_tracker(
    setting: Setting, folder: Path, config: dict[str, Any], found: Checkpoint | None
) -> RunTracker:
    return RunTracker(
        folder,
        wandb_mode=setting.flags.run.wandb,
        project="vision-distillation",
        name=f"{setting.task.name}-{setting.flags.method.name}-{folder.name}",
        config=config,
        position=None if found is None else position(found),
    )


def _make_evaluation(setting: Setting, folder: Path, learner: Learner) -> EvaluationCallback:
    """Evaluates during training, and keeps the student with the best validation return."""
    task, flags, teaching = setting.task, setting.flags, setting.teaching
    notes = {
        "task": task.name,
        **describe_custom(task),
        "frame_interval": task.frame_interval,
        "blind": flags.student.blind,
        "method": flags.method.name,
        # So that `Evaluation.evaluate` repeats the figures of the bundle alone.
        "id_seed": learner.id_seed,
        "threads": torch.get_num_threads(),
        "teacher": {
            "sha256": teaching.bundle.sha256,
            "min_std": setting.teacher.min_std,
            "identity": teaching.bundle.identity,
        },
        **setting.notes,
    }

    def save_best(stats: EpisodeStats) -> None:
        figures = {"steps": learner.model.num_timesteps, **stats.summary("validation_")}
        save_student(learner.policy, folder / run_folder.STUDENT, {**notes, "training": figures})

    can_tell = can_be_asked(setting.teacher, blind=flags.student.blind)
    return EvaluationCallback(
        setting.eval_env,
        task,
        id_seed=learner.id_seed,
        eval_every=flags.eval_every,
        n_episodes=flags.run.eval_episodes,
        baselines={name: returns["validation"] for name, returns in teaching.baselines.items()},
        teacher=policy_act(setting.teacher) if can_tell else None,
        save_best=save_best,
        take_skill=learner.take_skill,
    )
