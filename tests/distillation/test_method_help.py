"""`--PPD --help` lists what PPD uses, with the values in force; `--help-all` lists everything."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from Algorithm.method_registry import METHODS
from Common.errors import UserError
from Distillation.flags.groups import flag_methods
from Distillation.flags.parse import parse
from Distillation.flags.resolve import Flags
from Enviroment.tasks import TASKS


def help_text(capsys: pytest.CaptureFixture[str], arguments: Sequence[str]) -> str:
    with pytest.raises(SystemExit) as end:
        parse(TASKS["Pusher"], arguments)
    assert end.value.code == 0
    return capsys.readouterr().out


def entries(text: str) -> dict[str, str]:
    """The help of each flag by its name, in one line."""
    parts = re.split(r"^[^\w\n]*--(?:no_)?(\w+)(?= )", text, flags=re.MULTILINE)
    texts = (re.sub(r"[│╭╰╮╯─\s]+", " ", part) for part in parts[2::2])
    return dict(zip(parts[1::2], texts, strict=True))


@pytest.mark.parametrize("method", METHODS)
def test_the_help_of_a_method_lists_its_flags(
    method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = entries(help_text(capsys, [f"--{method}", "--help"]))
    uses = {name for name, methods in flag_methods(Flags).items() if method in methods}
    assert uses <= shown.keys()
    others = set(flag_methods(Flags)) - uses
    assert not others & shown.keys()


def test_values_are_those_in_force(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--PPD", "--PPD_parameter", "2", "--learning_rate=0.002", "--help"]
    shown = entries(help_text(capsys, words))
    assert "(given: 2.0)" in shown["PPD_parameter"]
    assert "(given: 0.002)" in shown["learning_rate"]
    assert "(default: 0.0001)" in shown["final_learning_rate"]  # 5 percent of the given one
    assert "(default: 64)" in shown["num_steps"]  # of PPD; the declared default is none
    assert "(default: 6912)" in shown["eval_every"]
    assert "weight of the KL to the teacher" in shown["PPD_parameter"]  # the help text is kept
    cloning = entries(help_text(capsys, ["--BC_phase", "--help"]))
    assert "(default: 1000)" in cloning["eval_every"]


def test_help_all_and_help_without_a_method_list_everything(
    capsys: pytest.CaptureFixture[str],
) -> None:
    everything = {*METHODS, *flag_methods(Flags)}
    for words in (["--help-all"], ["--PPD", "--help-all"], ["--help"]):
        assert everything <= entries(help_text(capsys, words)).keys(), words


def test_help_with_a_flag_of_another_method_names_it() -> None:
    with pytest.raises(UserError, match="--rounds: only with --Dagger_phase"):
        parse(TASKS["Pusher"], ["--PPD", "--rounds", "3", "--help"])
