"""The defaults in the tables of flags are those that are in force."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from Algorithm.method_registry import METHODS
from Common.places import ROOT
from Distillation.flags.in_force import effective_settings
from Distillation.flags.parse import parse
from Enviroment.tasks import get_task

_CLONING = tuple(name for name, method in METHODS.items() if method.family != "on_policy")
# Documents of the scripts in Distillation, with their methods. Other tools have other defaults.
_DOCUMENTS = {
    **dict.fromkeys(("quickstart", "encoders", "reliability", "tasks"), (*METHODS,)),
    "cloning": _CLONING,
    "dagger": ("Dagger_phase",),
    "distillation": ("Sdistillation", "Tdistillation"),
}
_HEADS = (["flag", "default"], ["Flag", "Default"])
_NUMBER = re.compile(r"(?<![\w.])\d[\d.e-]*(?:k|x\d+)?(?![\w%])")
_WITH_NUMBERS = ("dataset", "frame_size")  # in texts


def _rows(document: str) -> Iterator[tuple[list[str], str]]:
    """Yield flags and default of each row."""
    is_table = False
    for line in (ROOT / f"docs/{document}.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        is_table = line.startswith("|") and (is_table or cells[:2] in _HEADS)
        if is_table and (flags := re.findall(r"--(\w+)", cells[0])) and len(cells) > 2:
            yield flags, cells[1]


def _in_force(task: str, method: str) -> dict[str, str]:
    # Defaults of the suites are those of the paper's students, which see the state.
    of_state = METHODS[method].family == "collection" or get_task(task).suite
    sees = [] if of_state else ["--mode", "ImpaalaSmall"]
    groups = effective_settings(parse(get_task(task), [f"--{method}", *sees]))
    return {
        name: _plain(value)
        for group in groups.values()
        for name, value in group.items()
        if name in _WITH_NUMBERS or (isinstance(value, int | float) and not isinstance(value, bool))
    }


def _plain(value: object) -> str:
    """Return a number in one form, 1e-3 as 0.001."""
    try:
        return f"{float(str(value)):g}"
    except ValueError:
        return str(value)


@pytest.mark.parametrize("document", _DOCUMENTS)
def test_numbers_in_force_are_documented(document: str) -> None:
    """Each default of each method is in its row; those of suites, if the row has any, after it."""
    rows, wrong = list(_rows(document)), set()
    assert rows
    for method in _DOCUMENTS[document]:
        for task, of_suite in (("Pusher", False), ("Hopper", True)):
            values = _in_force(task, method)
            for flags, cell in rows:
                if of_suite and ("suites" not in cell or len(_DOCUMENTS[document]) == len(METHODS)):
                    continue
                told = {_plain(n) for n in _NUMBER.findall(cell.partition("suites")[2] or cell)}
                told |= set() if of_suite else {_plain(n) for n in _NUMBER.findall(cell)}
                for flag in flags:
                    if told and flag in values and values[flag] not in told:
                        wrong.add(f"--{flag} of {task} --{method}: {values[flag]}, not {cell}")
    assert not wrong, "\n".join(sorted(wrong))
