"""The folder that would be uploaded, read back by huggingface_hub's own parsers."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.envs import FakeImageEnv

import vision_distillation
from Common.commands.toolkit import main
from Common.errors import UserError
from Common.places import SHIPPED
from Common.program import COMMANDS
from Models.teacher.bundle import save_teacher
from Models.teacher.policy import Teacher
from tests.support.refusal import refusal
from tests.support.tiny_dataset import collect_tiny, content
from vision_distillation import push

huggingface_hub: Any = pytest.importorskip("huggingface_hub", reason="the Hub is optional")
STUDENT = SHIPPED / "Pusher" / "students" / "ppd_small"
TEACHER = SHIPPED / "Pusher" / "teachers" / "ppo"


def card_of(folder: Path, kind: str = "ModelCard") -> Any:
    """Read a card by huggingface_hub's own class."""
    return getattr(huggingface_hub, kind).load(folder / "README.md")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(push(STUDENT, "me/ppd-pusher", output=tmp_path_factory.mktemp("out") / "student"))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(push(TEACHER, "me/ppo-pusher", output=tmp_path_factory.mktemp("out") / "teacher"))


def test_the_folder_is_the_bundle_as_it_is(student: Path) -> None:
    names = {"README.md", "student.json", "student.safetensors", "evaluation.json", "replay.mp4"}
    assert content(student).keys() == names
    for name in ("student.json", "student.safetensors", "evaluation.json"):
        assert (student / name).read_bytes() == (STUDENT / name).read_bytes()


def test_the_students_metadata(student: Path) -> None:
    card = card_of(student)
    metadata: Any = huggingface_hub.metadata_load(student / "README.md")
    assert metadata["library_name"] == "vision-distillation"
    assert card.data.library_name == "vision-distillation"
    assert card.data.license == "mit"
    assert card.data.pipeline_tag == "reinforcement-learning"
    assert {"reinforcement-learning", "robotics", "Pusher-v5", "ppd"} <= set(card.data.tags or [])
    figures = json.loads((STUDENT / "evaluation.json").read_text())
    results = {result.metric_type: result for result in card.data.eval_results or []}
    expected = f"{figures['return']:.2f} +/- {figures['return_std']:.2f}"
    assert results["mean_reward"].metric_value == expected == "-26.60 +/- 4.59"
    seeds = {"episodes": 50, "first_seed": 80_000_000, "last_seed": 80_000_049}
    assert all(result.metric_args == seeds for result in results.values())
    assert results["skill"].metric_value == round(figures["skill"], 4)
    assert {result.dataset_name for result in results.values()} == {"Pusher-v5"}


def test_the_students_text(student: Path) -> None:
    text = (student / "README.md").read_text()
    sight = json.loads((STUDENT / "diagnostics" / "sight.json").read_text())
    assert sight["verdict"] in text
    assert "\n| env steps | 228,096 |\n" in text  # as its bundle says, of a method that acts
    assert 'src="https://huggingface.co/me/ppd-pusher/resolve/main/replay.mp4"' in text
    assert json.loads((STUDENT / "student.json").read_text())["sha256"] in text
    for section in ("Results", "Does it need its frames?", "How it was made", "Limits", "Use"):
        assert f"\n## {section}\n" in text
    assert "\n\n\n" not in text.partition("\n---\n")[2]


def test_the_students_program_runs(student: Path, monkeypatch) -> None:
    (program,) = blocks((student / "README.md").read_text(), "python")
    assert len(program.splitlines()) <= 10
    monkeypatch.setattr(vision_distillation, "pull", lambda name: STUDENT, raising=False)
    variables: dict[str, Any] = {}
    exec(compile(program, "README.md", "exec"), variables)
    assert variables["done"][0]
    assert variables["action"].shape == (7,)


def test_the_teachers_program_runs(teacher: Path, monkeypatch) -> None:
    (program,) = blocks((teacher / "README.md").read_text(), "python")
    monkeypatch.setattr(vision_distillation, "pull", lambda name: TEACHER, raising=False)
    variables: dict[str, Any] = {}
    exec(compile(program, "README.md", "exec"), variables)
    assert variables["action"].shape == (7,)


def test_the_commands_of_the_cards_exist(student: Path, teacher: Path) -> None:
    said = ""
    for folder in (student, teacher):
        said += "".join(blocks((folder / "README.md").read_text(), "bash"))
    typed = [shlex.split(line) for line in said.splitlines() if line]
    names = [words[1] for words in typed if words[0] == "vision-distillation"]
    assert set(names) == {"pull", "evaluate", "inspect"} <= COMMANDS.keys()


def test_the_teachers_results(teacher: Path) -> None:
    returns = json.loads((TEACHER / "teacher.json").read_text())["baselines"]["teacher"][
        "evaluation"
    ]
    card = card_of(teacher)
    (result, *_) = card.data.eval_results or []
    assert result.metric_value == f"{np.mean(returns):.2f} +/- {np.std(returns):.2f}"
    assert result.metric_args["episodes"] == len(returns) == 100
    cloned = json.loads((TEACHER / "teacher.json").read_text())["imitability"]
    assert f"budget: return {cloned['mean_return']:.2f}, skill {cloned['skill']:.3f}" in card.text
    assert "It has none: it observes the simulator's state" in card.text
    assert "python Train_Teacher/Pusher.py --algo ppo --eval_every 256000" in card.text


def test_a_teacher_of_frames_needs_them(tmp_path: Path) -> None:
    small = {"net_arch": [], "features_extractor_kwargs": {"features_dim": 8}}
    agent = PPO("CnnPolicy", FakeImageEnv(), n_steps=8, batch_size=8, policy_kwargs=small, seed=0)
    teacher = Teacher.from_sb3(agent)
    save_teacher(tmp_path / "teacher", teacher.state_dict(), teacher.description, {})
    card = card_of(Path(push(tmp_path / "teacher", "me/frames", output=tmp_path / "out")))
    assert "Yes: it observes frames" in card.text
    assert "the simulator's state" not in card.text


def test_a_datasets_card(tmp_path: Path) -> None:
    data = collect_tiny(tmp_path / "data", 60, behaviour_noise=0.3)
    folder = Path(push(data, "datasets/me/steps", output=tmp_path / "out"))
    card = card_of(folder, "DatasetCard")
    assert card.data.size_categories == ["n<1K"]
    assert card.data.task_categories == ["reinforcement-learning", "robotics"]
    assert "| `distribution.mean` | float32 | 2 |" in card.text
    assert "noise was added to the label" in card.text
    assert "](contact_sheet.png)" in card.text
    assert (folder / "contact_sheet.png").stat().st_size > 100


def test_what_is_not_known_is_said(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("student.json", "student.safetensors"):
        shutil.copy(STUDENT / name, bare / name)
    folder = Path(push(bare, "me/bare", output=tmp_path / "out"))
    card = card_of(folder)
    assert card.data.eval_results is None
    assert "shared without an evaluation" in card.text
    assert "`vision-distillation sight bare` measures it" in card.text
    assert "shared without its command" in card.text
    assert "<video" not in card.text


def test_a_card_holds_no_secret(tmp_path: Path, monkeypatch) -> None:
    """A run records its command; the card shows it without what has become a secret since."""
    from Sharing.cards import student as cards

    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef0123")
    monkeypatch.setattr(cards, "_made", lambda subject, method: {"key": "0123456789abcdef0123"})
    folder = Path(push(STUDENT, "me/x", output=tmp_path / "out"))
    assert "0123456789abcdef0123" not in (folder / "README.md").read_text()


def test_bad_settings_are_refused(tmp_path: Path, capsys, monkeypatch) -> None:
    with pytest.raises(UserError, match=r"`license` 'MIT License' is not a name of the Hub"):
        push(TEACHER, "me/x", license="MIT License", output=tmp_path / "out")
    monkeypatch.setattr("sys.argv", ["vision-distillation"])
    words = ["push", str(TEACHER), "me/x", "--license", "x y", "--output", str(tmp_path / "out")]
    assert "--license 'x y' is not a name" in refusal(capsys, lambda: main(words))
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match=r"`output` .* exists already"):
        push(TEACHER, "me/x", output=tmp_path)


def test_the_command_writes_the_folder_offline(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("sys.argv", ["vision-distillation"])
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        main(["push", str(TEACHER), "me/x", "--output", str(tmp_path / "out")])
    assert "Nothing was uploaded." in said.getvalue()
    assert (tmp_path / "out" / "README.md").is_file()
