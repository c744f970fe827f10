"""Train a student from Python exactly as the commands in `Distillation` do."""

from __future__ import annotations

import contextlib
import difflib
import io
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from Algorithm.method_registry import METHODS
from Common.device import torch_threads
from Common.errors import UserError, fields_as_flags
from Common.names import nearest
from Distillation.custom_run import own_flags, read_task
from Distillation.flags.groups import flag_values
from Distillation.flags.names import FLAG_NAMES
from Distillation.flags.parse import default_values, parse
from Distillation.flags.resolve import Flags
from Distillation.flags.tokens import parser_error_as_user_error, tokens
from Distillation.flags.uses import unused_flags_note
from Distillation.run import run
from Enviroment.tasks import Task, get_task
from Models.networks.own import given_encoder
from vision_distillation.student import Student
from vision_distillation.teachers import teacher_bundle

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

    from Models.teacher.policy import Teacher

_FLAG = re.compile(r"--([A-Za-z_]\w*)")


def distil(
    task: str | Task | None = None,
    *,
    method: str = "PPD",
    teacher: BaseAlgorithm | Teacher | Path | str | None = None,
    vecnormalize: Path | str | None = None,
    verbose: bool = False,
    **settings: Any,
) -> Student:
    """Train a student and return it: the run of `python Distillation/<task>.py`, bit-for-bit.

    Settings are the flags of the command without dashes, with its defaults: `mode`,
    `total_timesteps`, `output`, `resume` and so on; see docs/quickstart.md. `encoder` may be a
    class. The run folder is that of the command too, and `Student.folder` names it.

    Usage::

        student = distil("Pusher", method="PPD", mode="ImpaalaSmall", output="my_run")

    Args:
        task: name of a registered task, or a task; None for an own environment, `env_id=...`
            with `camera` and `proprio` as in docs/tasks.md.
        method: a method of the toolkit, such as PPD, DAgger's Dagger_phase or BC_phase.
        teacher: a live SB3 model, its zip file, a teacher, or its bundle; default: the one that is
            shipped with the task. The first two are saved as a bundle, in `teachers` beside
            `output`, or without it in `Results/<task>/Teacher`.
        vecnormalize: file of `VecNormalize.save`, for a zip file of an agent that was trained with
            one. A live model has its own.
        verbose: print what the command prints. Progress and warnings are always printed.
        settings: further flags.

    Raises:
        UserError: a setting does not exist or cannot be satisfied, before anything is trained.
        Stopped: the kernel was interrupted; `resume=True` continues the run.
    """
    with _in_python(), fields_as_flags(FLAG_NAMES):
        chosen, arguments = _command(task, method, settings)
        if teacher is not None:
            bundle = teacher_bundle(teacher, chosen, vecnormalize, settings.get("output"))
            arguments += ["--teacher", str(bundle)]
        elif vecnormalize is not None:
            raise UserError("`vecnormalize` belongs to a zip file: give it as `teacher`.")
        flags = parser_error_as_user_error(lambda: parse(chosen, arguments))
        note = unused_flags_note(flags, default_values(chosen, flags.method.phases))
        if note:
            print(note, file=sys.stderr)
        script = ["python", *f"Distillation/{chosen.script}".split()]
        output = contextlib.nullcontext() if verbose else contextlib.redirect_stdout(io.StringIO())
        with output, torch_threads(torch.get_num_threads()):
            folder = run(chosen, flags, [*script, *arguments])
        return Student.load(folder, env_id=chosen.env_id if chosen.custom else None)


def _command(
    task: str | Task | None, method: str, settings: Mapping[str, Any]
) -> tuple[Task, list[str]]:
    """Return the task, and the command line of the settings.

    Raises:
        UserError: a setting, the method or the task does not exist.
    """
    known = [name for name in flag_values(Flags()) if name not in METHODS]
    own = [name for name in own_flags() if name in settings]
    _check_names(settings, {*known, *own_flags()} - {"teacher"})
    if method not in METHODS or METHODS[method].family == "collection":
        methods = [name for name, m in METHODS.items() if m.family != "collection"]
        raise UserError(f"`method` {method!r} trains no student. Use {nearest(method, methods)}.")
    if (task is None) != ("env_id" in settings):
        raise UserError("Give the name of a task, or the `env_id` of your own environment.")
    if task is None:
        chosen, _ = read_task([word for name in own for word in _words(name, settings[name])])
        assert chosen is not None  # without --help and --look
    else:
        chosen = get_task(task) if isinstance(task, str) else task
        if surplus := [name for name in own if name not in known]:
            listed = " and ".join(f"`{name}`" for name in surplus)
            raise UserError(f"{chosen.name} has its own {listed}: only an `env_id` takes one.")
    given = {name: _plain(value) for name, value in settings.items() if name in known}
    return chosen, [f"--{method}", *tokens(given, default_values(chosen, (method,)))]


def _words(name: str, value: Any) -> list[str]:
    """Return a flag of an own environment; `env_kwargs` may be a dictionary."""
    if isinstance(value, Mapping):
        return [f"--{name}", *(f"{key}={json.dumps(entry)}" for key, entry in value.items())]
    return [f"--{name}={value}"]


def _check_names(settings: Mapping[str, Any], known: set[str]) -> None:
    for name in settings:
        if name in METHODS:
            raise UserError(f"{name} is no setting but a method: give --{name}.")
        if (positive := name.removeprefix("no_")) in known - {name}:
            raise UserError(f"There is no setting `{name}`: give `{positive}=False`.")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            listing = "`python Distillation/Pusher.py --help-all` lists them."
            hint = f"Did you mean `{near[0]}`?" if near else listing
            raise UserError(f"There is no setting `{name}`. {hint}")


def _plain(value: Any) -> Any:
    """Return a value as it is typed: paths and encoders as text, and 1e5 as 100000."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, type):
        return given_encoder(value)
    is_whole = isinstance(value, float) and value.is_integer()
    return int(value) if is_whole else value


@contextlib.contextmanager
def _in_python() -> Iterator[None]:
    """Replace flags by settings in the messages of errors raised in the block."""
    known = {*flag_values(Flags()), *own_flags()}

    def setting(match: re.Match[str]) -> str:
        name = match[1].removeprefix("no_")
        if name in METHODS:
            return f'`method="{name}"`'
        return f"`{name}`" if name in known else match[0]

    try:
        yield
    except UserError as error:
        error.args = (_FLAG.sub(setting, str(error)),)
        raise
