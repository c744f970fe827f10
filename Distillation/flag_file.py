"""`--config FILE`: flags from a YAML or JSON file."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from Distillation.yaml_file import read_mapping
from Enviroment.errors import UserError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_PATHS = ("teacher", "output", "folder_Dagger", "init_from")

Groups = TypeVar("Groups", bound="DataclassInstance")


def read_flag_file(path: Path) -> dict[str, Any]:
    """Flags and their values.

    Raises:
        UserError: the file cannot be read, or is no mapping.
    """
    return read_mapping(
        path,
        f"--config {path}",
        wrong_form="is neither YAML nor JSON",
        holds="flags and their values, `mode: State`",
    )


def with_values(defaults: Groups, values: Mapping[str, Any], path: Path) -> Groups:
    """`defaults`, a dataclass of groups of flags, with the values of a file.

    Raises:
        UserError: some are no flags.
    """
    rest, groups, flags = dict(values), {}, []
    for group in dataclasses.fields(defaults):
        current = getattr(defaults, group.name)
        names = [f.name for f in dataclasses.fields(current)]
        given = {name: rest.pop(name) for name in names if name in rest}
        paths = {n: Path(v) for n, v in given.items() if n in _PATHS and v}
        groups[group.name] = dataclasses.replace(current, **{**given, **paths})
        flags += names
    if rest:
        unknown = ", ".join(_with_hint(str(name), flags) for name in rest)
        raise UserError(f"{path} names what is no flag: {unknown}.")
    return dataclasses.replace(defaults, **groups)


def _with_hint(name: str, flags: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, flags, n=1)
    return f"{name} (did you mean {near[0]}?)" if near else name
