"""`vision-distillation`: it knows every command, starts fast, and works from a wheel anywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from Common import program
from Common.commands.toolkit import main
from Common.places import ROOT
from Common.program import COMMANDS
from tests.docs.test_light_commands import answers, commands_of
from tests.support.refusal import refusal


def test_every_command_of_the_toolkit_has_a_name() -> None:
    folders = ("Distillation", "Train_Teacher", "Evaluation", "Enviroment", "Models", "Sharing")
    places = [place for folder in folders for place in commands_of(folder)]
    modules = {place.removesuffix(".py").replace("/", ".") for place in places}
    assert {command.module for command in COMMANDS.values()} == modules


def test_help_and_typos_import_nothing_heavy() -> None:
    module = "Common.commands.toolkit"
    shown, helped, typo = answers(
        [module, "--help"], [module, "pusher", "--PPD", "--help"], [module, "pushr"]
    )
    assert (shown.code, shown.heavy) == (0, [])
    assert all(name in shown.text for name in COMMANDS)
    assert (helped.code, helped.heavy) == (0, [])
    assert "--PPD_parameter" in helped.text
    assert (typo.code, typo.heavy) == (2, [])
    assert "Did you mean" in typo.text


def test_a_typo_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "_by_console", False)  # `main` sets it for its process
    assert "no command 'evalute'. Did you mean evaluate" in refusal(
        capsys, lambda: main(["evalute"])
    )


def run(words: list[str | Path], folder: Path) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a new environment with the wheel, and of its own nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index"]
    source = folder / "source"  # setuptools builds beside the sources
    run(["git", "-c", f"safe.directory={ROOT}", "clone", "-q", ROOT, source], folder)
    run([*pip, "wheel", *offline, "--no-build-isolation", "-w", folder, source], folder)
    run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], folder)
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    (wheel,) = folder.glob("*.whl")
    run([*pip, "--python", folder / "venv", "install", *offline, wheel], folder)
    ours = [path for path in sys.path if path.endswith("site-packages")]
    (site / "libraries.pth").write_text("\n".join(ours))
    return folder / "venv" / "bin"


@pytest.mark.slow
def test_the_wheel_works_from_any_folder(installed: Path, tmp_path: Path) -> None:
    where = run([installed / "python", "-c", "import Common; print(Common.__path__[0])"], tmp_path)
    assert where.startswith(str(installed.parent))
    flags = "--total_timesteps 16 --num_envs 2 --num_steps 4 --batch_size 4 --eval_episodes 1"
    quick = f"{flags} --final_episodes 1 --threads 1 --frame_size 16x16 --wandb disabled --no_video"
    console = installed / "vision-distillation"
    assert "evaluate" in run([console, "--help"], tmp_path)
    trained = run([console, "pusher", "--PPD", "--mode", "ImpaalaSmall", *quick.split()], tmp_path)
    (following,) = (line for line in trained.splitlines() if "--init_from" in line)
    assert f"{console} pusher --PPD --init_from Results/Pusher/PPD/" in following
    assert "Distillation/" not in trained
    assert "python -m" not in trained
    (student,) = tmp_path.glob("Results/Pusher/PPD/*/student/student.safetensors")
    assert student.is_file()
    given = ["--episodes", "1", "--threads", "1"]
    assert "teacher" in run([console, "evaluate", student.parents[1], *given], tmp_path)
    site = Path(where.strip()).parent
    assert all((site / name / "py.typed").is_file() for name in ("vision_distillation", "Models"))
    python = [installed / "python", "-c"]
    (tmp_path / "empty").mkdir()
    own = "from vision_distillation import Student; Student.load('empty')"
    unknown = subprocess.run(
        [*python, own], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "`vision-distillation pusher --PPD --output DIR`" in unknown.stderr
    assert not [path for path in (site / "Results").rglob("*") if path.suffix == ".jsonl"]
