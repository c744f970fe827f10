"""Messages, help and docstrings name scripts, modules and pages that exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from Algorithm.cloning.config import CloningConfig, DaggerConfig
from Algorithm.on_policy.config import OnPolicyConfig
from Algorithm.on_policy.lambda_schedule import LambdaSchedule
from Common.errors import UserError, fields_as_flags
from Common.places import ROOT
from Distillation.command import main
from Distillation.flags.groups import flag_values
from Distillation.flags.names import CUSTOM_FLAGS, FLAG_NAMES
from Distillation.flags.resolve import Flags
from Enviroment.make import make_env
from Enviroment.tasks import TASKS, script_of
from Models import bundle
from Models.teacher.shipped import default_teacher
from tests.docs.source_audit import PACKAGES
from tests.support.refusal import refusal

NAMES = re.compile(
    r"(?:python )?((?:Distillation|Train_Teacher|benchmarks|docs)/[\w<>/]+\.(?:py|md))"
)
MODULES = re.compile(r"python -m ((?:Enviroment|Evaluation|Models)\.\w+)")


def texts() -> Iterator[tuple[Path, str]]:
    """Every text in the code; `{}` stands for what is filled in."""
    for path in (path for name in PACKAGES for path in sorted((ROOT / name).rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = (p.value if isinstance(p, ast.Constant) else "{}" for p in node.values)
                yield path, "".join(map(str, parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield path, node.value


def test_what_texts_name_is_there() -> None:
    named = {(name, path) for path, text in texts() for name in NAMES.findall(text)}
    assert len({name for name, _ in named}) > 8  # or the pattern finds nothing
    # `<Task>.py` in docstrings stands for any of them.
    missing = [pair for pair in named if "<" not in pair[0] and not (ROOT / pair[0]).is_file()]
    assert not missing


def test_messages_have_no_placeholder_for_a_script() -> None:
    """Nobody can type `<Task>.py`, and the tasks of a suite share a script."""
    for path in (path for name in PACKAGES for path in sorted((ROOT / name).rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Raise):
                assert "<Task>.py" not in ast.unparse(node), path
    assert not any("<Task>.py" in text for text in bundle._REMEDY.values())


def test_modules_that_texts_run_are_commands() -> None:
    modules = {name for _, text in texts() for name in MODULES.findall(text)}
    assert len(modules) > 8
    for name in modules:
        place = ROOT / name.replace(".", "/")
        module, package = place.with_suffix(".py"), place / "__main__.py"
        found = next((path for path in (package, module) if path.is_file()), None)
        assert found is not None, name
        assert found == package or '__name__ == "__main__"' in found.read_text(), name


@pytest.mark.parametrize("folder", ["Distillation", "Train_Teacher"])
def test_every_task_has_the_script_that_is_named(folder: str) -> None:
    for task in TASKS.values():
        assert (ROOT / folder / script_of(task).split()[0]).is_file(), task.name


def test_a_task_that_the_registry_does_not_have() -> None:
    own = replace(TASKS["Pusher"], name="Reach", env_id="mine:Reach-v0")
    assert script_of(own) == "Custom.py --env_id mine:Reach-v0"
    assert script_of("Reach") == "Custom.py --env_id ID"
    assert (ROOT / "Distillation" / "Custom.py").is_file()
    with pytest.raises(Exception, match=r"`python Train_Teacher/Custom.py --env_id ID`"):
        default_teacher("Reach")
    assert (ROOT / "Train_Teacher" / "Custom.py").is_file()


ERRORS = re.compile(r"Error$|__init__$")
# Of commands alone.
COMMANDS = ("__main__.py", "choice.py")


@pytest.mark.parametrize("package", ["Common", "Enviroment", "Models", "Algorithm"])
def test_errors_of_lower_floors_name_settings_not_flags(package: str) -> None:
    """But in what is typed as it stands: a command between backticks."""
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())) if path.name not in COMMANDS else ():
            if isinstance(node, ast.Call) and ERRORS.search(ast.unparse(node.func)):
                parts = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant)]
                text = re.sub(
                    r"`(?:python|pip|sha256sum|ray|hf) [^`]*`", "", "".join(map(str, parts))
                )
                assert not re.search(r"(?<!pip install )--\w", text), (path, node.lineno, text)


def test_python_reads_the_setting_and_the_command_line_the_flag(
    capsys: pytest.CaptureFixture[str],
) -> None:
    cases = (
        (lambda: OnPolicyConfig(learning_rate=0.0), "`learning_rate` 0.0", "--learning_rate 0.0"),
        (lambda: make_env("Pusher", 0, 0), "`n_envs` 0", "--num_envs 0"),
        (lambda: LambdaSchedule(-1.0), "`LambdaSchedule.first` -1.0", "--PPD_parameter -1.0"),
        (lambda: DaggerConfig(env_steps=0), "`DaggerConfig.env_steps` 0", "--round_env_steps 0"),
        (lambda: CloningConfig(weight_decay=-1), "`weight_decay` -1", "`weight_decay` -1"),
    )
    for make, named, flag in cases:
        with pytest.raises(UserError, match=re.escape(named)):
            make()
        with pytest.raises(UserError, match=re.escape(flag)), fields_as_flags(FLAG_NAMES):
            make()
    typed = ["--PPD", "--gamma", "2"]
    assert "--gamma 2.0 must be in [0, 1]" in refusal(capsys, lambda: main("Pusher", typed))


def test_every_flag_that_settings_are_translated_to_exists() -> None:
    assert set(FLAG_NAMES.values()) - set(CUSTOM_FLAGS) <= set(flag_values(Flags()))
