"""Run a method: from flags to a trained student in its run folder."""

from __future__ import annotations

import contextlib
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
from Common.cores import default_threads
from Common.device import resolve_device
from Common.errors import EXIT_BAD_INPUT, fields_as_flags
from Common.files.locks import locked
from Common.memory import keep_freed_memory
from Common.runs import run_folder
from Common.runs.checkpoint import Checkpoint, CheckpointStore
from Common.runs.tracking import RunTracker, write_config
from Common.runs.wandb_run import COUNTERS, WandbLabels
from Distillation.flags.frames import framed
from Distillation.flags.in_force import PHASES, effective_settings
from Distillation.flags.names import FLAG_NAMES
from Distillation.flags.ranks import flags_of_rank
from Distillation.flags.resolve import Flags
from Distillation.messages.banner import banner, student_title
from Distillation.messages.during import make_film, make_progress
from Distillation.messages.environment_notes import environment_notes
from Distillation.messages.next_commands import next_commands
from Distillation.methods import (
    ReadyMethod,
    Setting,
    check_encoder,
    make_method,
    make_student_env,
    student_config,
)
from Distillation.phases import data_folders, plan
from Distillation.report import report
from Distillation.resume import (
    Checkpointer,
    find_checkpoint,
    is_finished,
    mark_finished,
    position,
    restore,
)
from Distillation.starting.before_work import check_before_work
from Distillation.starting.cloned_run import read_cloned_run
from Distillation.starting.initial_student import InitialStudent, read_initial_student
from Distillation.starting.own_encoder import import_encoder, with_backbone
from Distillation.starting.teacher_data import behaviour_noise, collect_dataset
from Distillation.starting.teaching import load_teacher_setup
from Enviroment import seeds
from Enviroment.custom import describe_custom, describe_looks, describe_task
from Enviroment.tasks import Task
from Enviroment.worlds.model import check_task
from Evaluation.evaluate.agreement import can_be_asked
from Evaluation.evaluate.callbacks import EvaluationCallback
from Evaluation.evaluate.episodes import EpisodeStats, policy_act
from Models.student.bundle import save_student
from Models.teacher.policy import Baselines

_EVALUATION_ENVS = 10


def run_command(task: Task, flags: Flags, command: Sequence[str]) -> None:
    """Run a parsed command. Bad input exits with code 2 and one message on stderr."""
    ending = exit_with_message(
        "Continue with the same command and --resume.",
        print_error=distributed.print_error,
        print_stop=distributed.print_line,
    )
    with ending, fields_as_flags(FLAG_NAMES):
        try:
            run(task, flags, command)
        except distributed.RankLostError:  # has already printed its message
            sys.exit(EXIT_BAD_INPUT)


def run(task: Task, flags: Flags, command: Sequence[str]) -> Path:
    """Train a student and report on it, or collect a dataset with `--C_data`.

    Returns:
        The run folder, or the folder of the dataset.

    Raises:
        UserError: the flags cannot be satisfied, before anything is written; or later, if numbers
            are not finite or the disk is full.
        Stopped: SIGINT or SIGTERM arrived. A checkpoint is written if training has begun.
    """
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(StopSignals())
        stack.enter_context(distributed.joined())
        flags = flags_of_rank(flags)
        import_encoder(flags)
        flags, initial = _resolve(task, flags)
        flags, backbone = with_backbone(flags)
        task = framed(task, flags)
        if initial is not None:
            initial.check_frames(task)
        sees = flags.student.mode != "State" or flags.method.chosen.family == "collection"
        if flags.training.simulator == "warp":
            check_task(task, draws=sees and not flags.student.blind)
        has_rounds = flags.method.chosen.takes("rounds")
        steps = flags.cloning.round_env_steps // flags.training.num_envs
        for note in environment_notes(task, sees=sees, round_steps=steps if has_rounds else None):
            distributed.print_line(note)
        torch.set_num_threads(flags.run.threads or default_threads())
        keep_freed_memory()
        if flags.method.chosen.family == "collection":
            teacher = load_teacher_setup(task, flags, torch.device("cpu")).teacher
            return collect_dataset(task, flags, teacher)
        device = resolve_device(flags.run.device)
        default = Path(task.name) / flags.method.name / flags.run_name()
        folder = run_folder.locate(flags.run.output, default)
        if distributed.is_first():  # only rank 0 writes
            stack.enter_context(locked(folder))
            run_folder.check_free(
                folder,
                overwrite=flags.run.overwrite,
                resume=flags.run.resume,
                hint="Continue it with --resume. ",
                besides=data_folders(flags),
            )
        teacher_setup = load_teacher_setup(task, flags, device)
        check_before_work(flags, teacher_setup)
        n_eval = min(_EVALUATION_ENVS, flags.run.eval_episodes)
        env = make_student_env(task.plain, flags, n_eval, seeds.VALIDATION.start)
        stack.callback(env.close)
        teacher_setup.teacher.check_fits(task.name, env.observation_space, env.action_space)
        setting = Setting(task, flags, teacher_setup, device, env, initial, backbone)
        check_encoder(setting)
        student_config(setting)  # raises if invalid, before a dataset is collected
        if text := plan(flags, behaviour_noise(flags, teacher_setup.teacher)):
            distributed.print_line(text)
        _distil(setting, folder, command, signals)
    return folder


def _distil(setting: Setting, folder: Path, command: Sequence[str], signals: StopSignals) -> None:
    """Train from scratch, or with `--resume` from the newest checkpoint, and report."""
    config, sha256 = _configuration(setting), setting.teacher.description.sha256
    store = CheckpointStore(folder / run_folder.CHECKPOINTS, setting.flags.run.keep)
    found = None
    if setting.flags.run.resume:
        found = find_checkpoint(folder, store, config, sha256, setting.teacher_setup.identifiers)
        if is_finished(folder):
            distributed.print_line(f"The run in {folder} is finished: there is nothing to do.")
            return
        if found is None:
            distributed.print_line(f"{folder} has no checkpoint: it starts from the beginning.")
    with contextlib.ExitStack() as stack:
        method = make_method(setting, folder)
        if method.env is not None:
            stack.callback(method.env.close)
        evaluation = _make_evaluation(setting, folder, method)
        tracker = None
        if distributed.is_first():
            if found is None:
                run_folder.clear(folder)  # from here on, the folder holds a run
                write_config(
                    folder,
                    config,
                    teacher_sha256=sha256,
                    command=command,
                    teacher=setting.teacher_setup.identifiers,
                )
            tracker = _make_tracker(setting, folder, config, found)
            stack.callback(tracker.close)
            evaluation.film = make_film(setting, folder, tracker)
            print(banner(setting, method, folder, tracker), flush=True)
        method.model.set_logger(Logger(None, [] if tracker is None else [tracker]))
        checkpointer = Checkpointer(
            *(store, method, evaluation, tracker, signals),
            every=setting.flags.checkpoint_every,
            minutes=setting.flags.run.checkpoint_minutes,
        )
        if found is not None:
            restore(found, method, evaluation)
            checkpointer.begin_at(found.step)
        method.model.on_boundary = checkpointer
        with signals.held():
            callbacks = [] if tracker is None else [make_progress(setting, evaluation), evaluation]
            method.learn(CallbackList(callbacks))
            checkpointer.save()
        if tracker is not None:
            report(
                *(setting.task, setting.flags, folder, setting.teacher_setup),
                *(setting.eval_env, tracker),
                step=method.model.num_timesteps,
                title=student_title(setting),
            )
            mark_finished(folder)
            print(
                "\nnext:", *next_commands(setting.task, setting.flags, folder, command), sep="\n  "
            )


def _resolve(task: Task, flags: Flags) -> tuple[Flags, InitialStudent | None]:
    """Return the flags, completed from another run if given, and the initial student."""
    if flags.method.chosen.takes("rounds") and flags.cloning.folder_Dagger is not None:
        return read_cloned_run(flags.cloning.folder_Dagger, task.name).flags(flags), None
    if flags.training.init_from is None:
        return flags, None
    initial = read_initial_student(flags.training.init_from)
    initial.check_task(task.name)
    return initial.flags(flags), initial


def _configuration(setting: Setting) -> dict[str, Any]:
    """Return the configuration for `config.json`."""
    method = setting.flags.method
    names: dict[str, Any] = {"task": setting.task.name, "method": method.name}
    if len(method.phases) > 1:
        names[PHASES] = list(method.phases)
    own = describe_custom(setting.task)
    groups = effective_settings(setting.flags)
    groups["run"] |= {"device": str(setting.device), "threads": torch.get_num_threads()}
    return {**groups, **names, **own, **describe_looks(setting.task), **setting.provenance}


def _make_tracker(
    setting: Setting, folder: Path, config: dict[str, Any], found: Checkpoint | None
) -> RunTracker:
    task, flags, method = setting.task.name, setting.flags, setting.flags.method.chosen
    return RunTracker(
        folder,
        wandb_mode=flags.run.wandb,
        labels=WandbLabels(
            f"{task}-{method.name}-{folder.name}",
            group=f"{task}-{method.name}-{flags.settings_name()}",
            tags=(task, method.title, flags.student.size or flags.student.mode),
            x_axis=COUNTERS[method.counts == "gradient steps"],
        ),
        config=config,
        tensorboard=flags.run.tensorboard,
        position=None if found is None else position(found),
    )


def _make_evaluation(setting: Setting, folder: Path, method: ReadyMethod) -> EvaluationCallback:
    """Create the callback that evaluates, and saves the student with the best return."""
    task, flags, teacher_setup = setting.task, setting.flags, setting.teacher_setup
    description = {
        **describe_task(task, frames=flags.student.mode != "State"),
        "blind": flags.student.blind,
        "method": flags.method.name,
        # Allows `Evaluation.evaluate` to reproduce the results from the bundle alone.
        "id_seed": method.id_seed,
        "threads": torch.get_num_threads(),
        "teacher": {
            "sha256": teacher_setup.bundle.sha256,
            "min_std": setting.teacher.min_std,
            "mean_margin": setting.teacher.mean_margin,
            "identity": teacher_setup.bundle.identity,
        },
        **setting.provenance,
    }

    def save_best(stats: EpisodeStats) -> None:
        figures = {"steps": method.model.num_timesteps, **stats.summary("validation_")}
        written = {**description, "training": figures}
        save_student(method.policy, folder / run_folder.STUDENT, written)

    def on_validation(of_policies: Baselines) -> dict[str, list[float]]:
        return {name: by_seeds["validation"] for name, by_seeds in of_policies.items()}

    can_label = can_be_asked(setting.teacher, blind=flags.student.blind)
    return EvaluationCallback(
        setting.eval_env,
        task,
        id_seed=method.id_seed,
        eval_every=flags.eval_every,
        n_episodes=flags.run.eval_episodes,
        baselines=on_validation(teacher_setup.baselines),
        successes=on_validation(teacher_setup.bundle.successes),
        teacher=policy_act(setting.teacher) if can_label else None,
        save_best=save_best,
        take_skill=method.take_skill,
        until_skill=flags.training.until_skill,
    )
