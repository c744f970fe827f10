"""The commands that come next after a run, ready to be copied."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from Common.commands.wording import shown_path, typed_command
from Distillation.flags.groups import flag_values
from Distillation.flags.names import CUSTOM_FLAGS
from Distillation.flags.parse import default_values
from Distillation.flags.resolve import Flags
from Distillation.flags.uses import USES
from Enviroment.task import Task
from Enviroment.tasks import get_task

_EPISODES = 100  # of the evaluation, as in published results
_AFTER_CLONING = ("BC_phase", "Dagger_phase")  # a run of the first is continued by the second
# Flags that a following run takes over, because they decide which teacher, machine or seeds it has.
_TEACHER = ("teacher", "corrupt_teacher", "min_teacher_std", "clip_teacher_mean")
_MACHINE = ("run_index", "device", "threads", "workers", "wandb", "tensorboard", "video")
_STUDENT = (
    *("mode", "frame_size", "blind", "camera", "rgb", "depth", "depth_range"),
    *("stack", "frame_interval"),
)


def next_commands(task: Task, flags: Flags, folder: Path, command: Sequence[str]) -> list[str]:
    """Return three commands: evaluate on more seeds, make a report, and train further.

    Training goes on with DAgger after behavioural cloning; after other methods, with PPD from the
    student of the run.

    Args:
        folder: the run folder.
        command: the command of the run, with flags that define a task of the user's own.
    """
    run = shown_path(folder)
    own = _own_task(command) if task.custom else {}
    needed = [name for name in ("env_id", "wrapper") if ":" in "".join(own.get(name, ()))]
    package = [word for name in needed for word in (f"--{name}", *own[name])]
    package += _encoder(flags)
    return [
        typed_command(
            ("python", "-m", "Evaluation.evaluate", run, "--episodes", str(_EPISODES), *package)
        ),
        typed_command(("python", "-m", "Evaluation.report", run, "--output", f"{run}/report")),
        typed_command(_training(task, flags, run, own)),
    ]


def _training(task: Task, flags: Flags, run: str, own: Mapping[str, Sequence[str]]) -> list[str]:
    cloned, dagger = _AFTER_CLONING
    if flags.method.name == cloned:
        method, begin, kept, output = dagger, ("--folder_Dagger", run), (), f"{run}_dagger"
    else:
        method, begin, kept, output = "PPD", ("--init_from", run), _STUDENT, f"{run}_more"
    script = f"Distillation/{task.script}".split()
    if task.custom:
        script = [script[0], *(word for name in own for word in (f"--{name}", *own[name]))]
    # The task of the run has the frames of its flags, so of an own one the default size is unknown.
    plain = task if task.custom else get_task(task.name)
    named = ("frame_size",) if task.custom and flags.student.mode != "State" else ()
    values = flag_values(flags)
    defaults = default_values(plain, (method,), flags.student.mode)
    changed = {
        name: values[name]
        for name in (*kept, *_TEACHER, *_MACHINE)
        if method in USES[name] and name not in own
        if name in named or values[name] != defaults[name]
        if not (name == "mode" and flags.student.own_encoder)
    }
    return [
        *("python", *script, f"--{method}", *begin, *_encoder(flags)),
        *(word for name, value in changed.items() for word in _as_words(name, value)),
        *("--output", output),
    ]


def _encoder(flags: Flags) -> tuple[str, ...]:
    name = flags.student.own_encoder
    return () if name is None else ("--encoder", name)


def _as_words(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no_{name}"]
    if isinstance(value, Path):
        value = shown_path(value)
    return [f"--{name}", str(value)]


def _own_task(command: Sequence[str]) -> dict[str, list[str]]:
    """Return the flags in a command that define a task of the user's own, and their values."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in CUSTOM_FLAGS:
        parser.add_argument(f"--{name}", action="extend", nargs="+", default=[])
    given = vars(parser.parse_known_args(list(command))[0])
    return {name: values for name, values in given.items() if values}
