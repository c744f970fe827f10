"""Every metric that a run logs is explained on its method's page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from Common.places import ROOT
from Distillation.command import main as distill
from tests.support.short_for import short_for
from tests.support.short_run import write_teacher
from Train_Teacher.command import main as train_teacher

pytestmark = pytest.mark.slow

DOCS = ROOT / "docs"
KEY = re.compile(r"[a-z]+/(?:[a-z0-9_]+\*?|\*)")
ON_POLICY = ("ppd.md", "evaluation.md")
CLONING = ("cloning.md", "dagger.md", "evaluation.md")
QUIET = ("--wandb", "disabled", "--no_video", "--overwrite")


def explained(*pages: str) -> set[str]:
    """The keys in the first column of the pages' tables; a `*` at the end stands for any."""
    text = "\n".join((DOCS / page).read_text() for page in pages)
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    return {key for row in rows for key in KEY.findall(row.split("|")[1])}


def unexplained(folder: Path, *pages: str) -> list[str]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    logged = {key for line in lines for key in json.loads(line) if "/" in key}
    known = explained(*pages)
    # "eval/*" on a method's page refers to the page of evaluation.
    stems = tuple(key[:-1] for key in known - {"eval/*"} if key.endswith("*"))
    assert logged
    return sorted(key for key in logged - known if not key.startswith(stems))


@pytest.mark.parametrize(
    ("flags", "pages"),
    [
        (("--PPD", "--critic_warmup", "8", "--eval_every", "8"), ON_POLICY),
        (("--PPO",), ON_POLICY),
        (("--Sdistillation",), ("distillation.md", *ON_POLICY)),
        (("--Tdistillation",), ("distillation.md", *ON_POLICY)),
    ],
)
def test_of_the_on_policy_methods(
    flags: tuple[str, ...], pages: tuple[str, ...], tmp_path: Path
) -> None:
    taught = ("--teacher", str(write_teacher(tmp_path / "teacher")))
    output = ("--output", str(tmp_path / "run"), *QUIET)
    distill("Pusher", [*short_for(*flags), *flags, *taught, *output])
    assert unexplained(tmp_path / "run", *pages) == []


def test_of_cloning_and_dagger(tmp_path: Path) -> None:
    taught = ("--teacher", str(write_teacher(tmp_path / "teacher")), "--frame_size", "16x16")
    dataset = ("--dataset", str(tmp_path / "data"))
    tiny = ("--batch_size", "4", "--eval_every", "2", "--eval_episodes", "2", "--threads", "1")
    tiny += ("--final_episodes", "2", "--device", "cpu", *QUIET)
    distill(
        "Pusher", ["--C_data", "--num_data", "400", *taught, "--output", str(tmp_path / "data")]
    )
    clone = ("--BC_phase", "--mode", "ImpaalaSmall", *taught, *dataset, *tiny)
    clone += ("--optimization_steps", "4")
    distill("Pusher", [*clone, "--output", str(tmp_path / "clone")])
    rounds = ("--rounds", "1", "--round_env_steps", "8", "--round_gradient_steps", "4")
    rounds += ("--num_envs", "2", "--alpha", "0.6", "--mode_alpha", "dynamic_max")
    dagger = ("--Dagger_phase", "--folder_Dagger", str(tmp_path / "clone"), *taught, *dataset)
    distill("Pusher", [*dagger, *tiny, *rounds, "--output", str(tmp_path / "dagger")])
    assert unexplained(tmp_path / "clone", *CLONING) == []
    assert unexplained(tmp_path / "dagger", *CLONING) == []


@pytest.mark.parametrize("algo", ["ppo", "reinforce", "actor_critic"])
def test_of_teachers(algo: str, tmp_path: Path) -> None:
    tiny = ("--eval_every", "100", "--eval_episodes", "2", "--baseline_episodes", "2")
    small = ("--num_envs", "2", "--n_steps", "50", "--batch_size", "50") if algo == "ppo" else ()
    total = ("--total_timesteps", "200", "--output", str(tmp_path / "run"), *QUIET)
    train_teacher("Reacher", ["--algo", algo, *tiny, *small, *total])
    assert unexplained(tmp_path / "run", "teachers.md", "hopper.md") == []


def test_a_metric_that_no_page_explains_is_found(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "train/kl": 0.1, "train/secret": 2}\n')
    assert unexplained(tmp_path, *ON_POLICY) == ["train/secret"]
