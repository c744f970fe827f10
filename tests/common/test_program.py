"""Messages name commands as this installation types them."""

from __future__ import annotations

import runpy
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from Common import program
from Common.commands.wording import typed_command
from Common.errors import UserError
from Common.program import COMMANDS, as_typed, console_name
from Models.bundle import read_bundle

# In a checkout, and as typed with the console command.
TEXTS = {
    "Run `python Distillation/Pusher.py --PPD`.": "Run `vision-distillation pusher --PPD`.",
    "python Distillation/MuJoCo.py --env Ant": "vision-distillation mujoco --env Ant",
    "runs of Distillation/Hopper.py, or": "runs of vision-distillation hopper, or",
    "`python Train_Teacher/Custom.py`": "`vision-distillation teach`",
    "python -m Evaluation.linear_probe RUN": "vision-distillation linear-probe RUN",
    "`python -m Enviroment.dataset repair a`": "`vision-distillation dataset repair a`",
    "`python -m Models.teacher convert`": "`vision-distillation convert`",
    "usage: python -m Models.teacher [-h]": "usage: vision-distillation [-h]",
    "pip install -e '.[export]'": "pip install 'vision-distillation[export]'",
}
KEPT = (
    "/home/me/Distillation/Pusher.py",  # a path of the user
    "python Distillation/Nothing.py",
    "python -m Evaluation.nothing now",
    "python -m pip install torch",
)


@pytest.fixture
def console(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "_by_console", False)  # for the restoration
    program.use_console_names()


def test_a_checkout_keeps_its_scripts() -> None:
    assert [as_typed(text) for text in (*TEXTS, *KEPT)] == [*TEXTS, *KEPT]


@pytest.mark.usefixtures("console")
def test_the_console_command_names_itself() -> None:
    assert {text: as_typed(text) for text in TEXTS} == TEXTS
    assert [as_typed(text) for text in KEPT] == list(KEPT)


def test_every_module_is_there() -> None:
    assert all(find_spec(command.module) for command in COMMANDS.values())


@pytest.mark.usefixtures("console")
def test_errors_read_as_typed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="`vision-distillation teach-pusher --output DIR`"):
        read_bundle(tmp_path, "teacher")


@pytest.mark.usefixtures("console")
def test_commands_to_copy_start_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("python", "Distillation/MuJoCo.py", "--env", "Ant", "--output", "my run")
    after = "mujoco --env Ant --output 'my run'"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    assert typed_command(command) == f"bin/python -m vision_distillation {after}"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "vision-distillation").touch(0o755)
    assert typed_command(command) == f"bin/vision-distillation {after}"
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert typed_command(command) == f"vision-distillation {after}"
    inspect = ("python", "-m", "Models.teacher", "inspect", "a b")
    assert shlex.split(typed_command(inspect))[1:] == ["inspect", "a b"]


def test_an_unknown_command_has_no_name() -> None:
    with pytest.raises(KeyError):
        console_name(["-m", "Evaluation.nothing"])


@pytest.mark.usefixtures("console")
def test_the_package_runs_as_a_module(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["vision_distillation", "--help"])
    runpy.run_module("vision_distillation", run_name="__main__")
    assert "side-by-side" in capsys.readouterr().out
