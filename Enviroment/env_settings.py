"""Parse the settings of a user's own environment: wrappers, and arguments of its constructor."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Sequence
from typing import Any, get_args

from Common.errors import UserError
from Common.files.yaml_file import parse_yaml
from Enviroment.task import Frames, Task

FRAMES = (*get_args(Frames), "none")  # sources of frames that a user may choose

_KWARGS = """\
arguments of the environment: numbers, true, false, null, text, or JSON lists and objects:
continuous=false 'sizes=[3, 4]'"""

_WRAPPER = """\
package:Class of a gymnasium.Wrapper that takes the environment alone; several, innermost first,
separated by commas"""


def add_env_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that change an environment: its arguments, time limit and wrappers."""
    # Each use may give several.
    several = {"action": "extend", "nargs": "+", "default": []}
    parser.add_argument("--env_kwargs", metavar="NAME=VALUE", help=_KWARGS, **several)
    parser.add_argument(
        "--max_episode_steps",
        metavar="N",
        type=int,
        help="time limit of an episode in env steps; default: as registered",
    )
    parser.add_argument("--wrapper", metavar="PACKAGE:CLASS", default="", help=_WRAPPER)


def parse_wrappers(text: str) -> tuple[str, ...]:
    """Parse wrappers, separated by commas: "a:B,c:D" -> ("a:B", "c:D"), innermost first."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def parse_env_kwargs(pairs: Sequence[str]) -> dict[str, Any]:
    """Parse arguments of an environment: ["a=1", "b=no", 'c={"d": [2]}'].

    Values are YAML scalars (numbers, true, false, null, text) or JSON lists and objects.

    Raises:
        UserError: a pair has no name or an invalid value, or a name is given twice.
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        name, separator, text = pair.partition("=")
        if not separator or not name.isidentifier():
            raise UserError(f"`env_kwargs` {pair!r:.80} is not NAME=VALUE.")
        if name in values:
            raise UserError(f"`env_kwargs`: {name} is given twice.")
        try:
            is_nested = text.lstrip().startswith(("{", "["))
            values[name] = json.loads(text) if is_nested else _scalar(text)
        except (ValueError, RecursionError) as error:
            kind = "JSON" if is_nested else "a number, true, false, null or text"
            raise UserError(
                f"`env_kwargs` {pair!r:.80}: the value is not {kind}: {error}"
            ) from error
    return values


def env_settings_words(task: Task) -> list[str]:
    """Return the flags of a task's arguments, time limit and wrappers, as words of a command."""
    words = [f"{name}={_written(value)}" for name, value in task.env_kwargs.items()]
    words = ["--env_kwargs", *words] if words else []
    if task.max_episode_steps is not None:
        words += ["--max_episode_steps", str(task.max_episode_steps)]
    return [*words, *wrapper_words(task)]


def wrapper_words(task: Task) -> list[str]:
    """Return the flag of a task's wrappers, which tools need too; nothing if it has none."""
    return ["--wrapper", ",".join(task.wrappers)] if task.wrappers else []


def _written(value: Any) -> str:
    """Return the text that `parse_env_kwargs` reads as this value."""
    if isinstance(value, str) and value == value.strip():
        with contextlib.suppress(ValueError):
            if not value.startswith(("{", "[")) and _scalar(value) == value:
                return value
    return json.dumps(value)


def _scalar(text: str) -> Any:
    """Return the value of a YAML scalar. 1e-3 is a number too, which YAML 1.1 reads as text."""
    value = parse_yaml(text)
    if text.lstrip().startswith(("'", '"')):
        return value
    if isinstance(value, dict | list):
        return text  # such as a:b or - a
    with contextlib.suppress(ValueError):
        return float(value) if isinstance(value, str) and value[:1] not in "nNiI" else value
    return value
