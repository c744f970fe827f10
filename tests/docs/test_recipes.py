"""The recipes of CONTRIBUTING.md, followed in a copy of the packages, give something that runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from Common.places import ROOT
from Common.runs.files import read_metrics
from tests.docs.recipes import RECIPES
from tests.docs.test_house import FLOORS
from tests.support.run_folders import write_run
from tests.support.short_run import write_teacher

SHORT = (
    *("--total_timesteps", "16", "--num_envs", "2", "--num_steps", "4", "--eval_every", "1000"),
    *("--eval_episodes", "2", "--final_episodes", "2", "--threads", "1", "--device", "cpu"),
    *("--frame_size", "16x16", "--no_video", "--wandb", "disabled"),
)


def section(title: str) -> str:
    """Return the text of CONTRIBUTING.md under a heading."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    found = re.search(rf"^### {title}$(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"CONTRIBUTING.md has no section {title!r}"
    return found[1]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages, in which every recipe was followed; and a teacher."""
    root = tmp_path_factory.mktemp("checkout")
    for package in FLOORS:
        no_caches = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, root / package, ignore=no_caches)
    for recipe in RECIPES.values():
        recipe.follow(root)
    write_teacher(root / "teacher", task="Poke")
    return root


def run(checkout: Path, *words: str) -> subprocess.CompletedProcess[str]:
    own = {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *words], cwd=checkout, env={**os.environ, **own},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe_touches_few_files_and_names_them(title: str) -> None:
    recipe = RECIPES[title]
    assert len(recipe.files) <= recipe.most_files
    # A new file has a name of its own: its folder is named.
    named = (*recipe.after, *(f"{Path(path).parent.as_posix()}/" for path in recipe.new))
    assert [path for path in named if f"`{path}" not in section(title)] == []


def test_what_the_recipes_add_runs(checkout: Path) -> None:
    """The method trains the encoder on the task with the flag, which reaches torch."""
    added = ("--MeanDistill", "--mode", "Averages", "--adam_weight_decay", "0.25")
    ended = run(
        *(checkout, "Distillation/Poke.py", *added, *SHORT),
        *("--teacher", "teacher", "--output", "run"),
    )
    assert ended.returncode == 0, ended.stderr
    folder = checkout / "run"
    config = json.loads((folder / "config.json").read_text())["config"]
    assert (config["task"], config["method"]) == ("Poke", "MeanDistill")
    assert config["student"]["mode"] == "Averages"
    assert json.loads((folder / "student" / "student.json").read_text())["config"]["mode"] == (
        "Averages"
    )
    assert any("train/mse" in point for point in read_metrics(folder))
    assert config["training"]["adam_weight_decay"] == 0.25
    optimizers = [path.read_text() for path in folder.glob("checkpoints/*/state.json")]
    assert optimizers
    assert all(re.search(r'"weight_decay": *0.25\b', text) for text in optimizers)


def test_flags_follow_the_entry_of_the_method(checkout: Path) -> None:
    refused = run(checkout, "Distillation/Poke.py", "--MeanDistill", "--clip_range", "0.1")
    assert refused.returncode == 2  # it clips no ratio, and its entry says so
    assert "--clip_range: only with --PPD, --PPO" in refused.stderr


def test_a_figure_has_its_column(checkout: Path) -> None:
    write_run(checkout / "shown" / "one", {"return": 30.0, "length": 87.5})
    shown = run(checkout, "-m", "Evaluation.table", "shown")
    assert "steps per episode" in shown.stdout, shown.stderr
    assert "87.5" in shown.stdout
