"""`--help`, a typo and a missing flag answer before torch and other slow libraries are imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from Common.places import ROOT

HEAVY = ("torch", "stable_baselines3", "wandb", "matplotlib", "gymnasium")
# Runs commands in one process. After each, notes its exit code, what it imported and printed.
PROBE = """
import contextlib, io, json, runpy, sys
calls, heavy = json.loads(sys.argv[1])
answers = []
for place, *arguments in calls:
    sys.argv = [place, *arguments]
    said, code = io.StringIO(), 0
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            if place.endswith(".py"):
                runpy.run_path(place, run_name="__main__")
            else:
                runpy.run_module(place, run_name="__main__", alter_sys=True)
        except SystemExit as end:
            code = end.code
    answers.append([code, [name for name in heavy if name in sys.modules], said.getvalue()])
print(json.dumps(answers))
"""


class Answer(NamedTuple):
    """What a command answered."""

    code: int
    heavy: list[str]  # libraries that were imported by then
    text: str


def answers(*calls: list[str]) -> list[Answer]:
    """Run commands, a script or a module and its arguments each, one after another."""
    probe = [sys.executable, "-c", PROBE, json.dumps([calls, HEAVY])]
    done = subprocess.run(probe, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return [Answer(*answer) for answer in json.loads(done.stdout.splitlines()[-1])]


def commands_of(folder: str) -> list[str]:
    """Return the scripts and modules of a folder that are commands."""
    found = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        place = path.relative_to(ROOT)
        if path.name == "__main__.py":
            found.append(".".join(place.parent.parts))
        elif '\nif __name__ == "__main__"' in path.read_text():
            script = folder in ("Distillation", "Train_Teacher")
            found.append(place.as_posix() if script else ".".join(place.with_suffix("").parts))
    return found


@pytest.mark.parametrize(
    ("folder", "least"),
    [
        ("Distillation", 8),
        ("Train_Teacher", 6),
        ("Evaluation", 12),
        ("Enviroment", 1),
        ("Models", 1),
        ("Sharing", 2),
    ],
)
def test_help_and_a_typo_import_nothing_heavy(folder: str, least: int) -> None:
    places = commands_of(folder)
    assert len(places) >= least, places
    calls = [[place, flag] for place in places for flag in ("--help", "--no_such_flag")]
    for call, answer in zip(calls, answers(*calls), strict=True):
        assert answer.heavy == [], call
        assert answer.code == (0 if "--help" in call else 2), (call, answer)


@pytest.mark.parametrize(
    ("folder", "method"), [("Distillation", ["--PPD"]), ("Train_Teacher", ["--algo", "ppo"])]
)
def test_flags_of_tasks_are_parsed_without_anything_heavy(folder: str, method: list[str]) -> None:
    chosen = {"Pusher": "", "MuJoCo": "Hopper", "Hopper": "CustomHopper-source", "Atari": "Pong"}
    for name, env in chosen.items():
        start = [f"{folder}/{name}.py", *(["--env", env] if env else []), *method]
        shown, typo, value = answers(
            [*start, "--help"], [*start, "--no_such_flag", "3"], [*start, "--run_index", "256"]
        )
        assert (shown.code, shown.heavy) == (0, []), start
        assert (typo.code, typo.heavy) == (2, []), start
        assert (value.code, value.heavy) == (2, []), start
        assert "--run_index 256" in value.text


def test_missing_flags_are_reported_without_anything_heavy() -> None:
    no_method, no_run, no_env = answers(
        ["Distillation/Pusher.py"], ["Evaluation.evaluate"], ["Distillation/MuJoCo.py"]
    )
    assert "Give exactly one method" in no_method.text
    assert "needs --env" in no_env.text
    for answer in (no_method, no_run, no_env):
        assert (answer.code, answer.heavy) == (2, []), answer


def test_names_and_families_are_those_of_the_classes() -> None:
    """What is checked without torch is what torch computes."""
    from torch import nn

    from Models.distributions import FAMILIES
    from Models.families import FAMILY_NAMES
    from Models.networks.limits import ACTIVATIONS

    assert tuple(FAMILIES) == FAMILY_NAMES
    assert all(issubclass(getattr(nn, name), nn.Module) for name in ACTIVATIONS)


def test_the_probe_sees_heavy_imports(tmp_path: Path) -> None:
    script = tmp_path / "slow.py"
    script.write_text("import torch")
    (answer,) = answers([str(script)])
    assert "torch" in answer.heavy
