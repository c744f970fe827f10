"""Datasets of tasks without a camera, and the students of the state that learn from them."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from Distillation.custom_run import main_custom
from Enviroment.custom import custom_task
from Enviroment.dataset import __main__ as dataset_tools
from Enviroment.dataset.reader import TeacherDataset
from Models.teacher.policy import save_teacher
from tests.support.tiny_dataset import TASK, collect_tiny, content, length_of
from tests.support.tiny_teacher import tiny_teacher

PACKAGE = """
import gymnasium as gym
from gymnasium.envs.mujoco.hopper_v5 import HopperEnv

gym.register("Own-v0", entry_point=HopperEnv, max_episode_steps=12)
"""
SHORT = (
    *("--eval_episodes", "2", "--final_episodes", "2", "--batch_size", "8", "--device", "cpu"),
    *("--no_video", "--wandb", "disabled", "--threads", "1"),
)


def test_states_are_gymnasiums_own(tmp_path: Path) -> None:
    """Played again in Gymnasium's environment, by the actions of the dataset."""
    task = replace(TASK, camera=None)
    dataset = TeacherDataset.open(collect_tiny(tmp_path / "a", 60, task=task), task)
    steps = dataset.read(np.arange(len(dataset)))
    assert "frame" not in dataset.columns and "proprio" in dataset.columns
    assert dataset.lengths.tolist() == [length_of(seed) for seed in _seeds(dataset)]
    env = gym.make("ShortReacher-v0", disable_env_checker=True)
    for episode, seed in enumerate(_seeds(dataset)):
        state, _ = env.reset(seed=seed)
        for index in range(*dataset.starts[episode : episode + 2]):
            np.testing.assert_array_equal(steps["state"][index], state.astype(np.float32))
            state, reward, *_ = env.step(steps["behaviour_action"][index])
            assert steps["reward"][index] == np.float32(reward)
    env.close()


def _seeds(dataset: TeacherDataset) -> list[int]:
    return dataset.read(dataset.starts[:-1], ["seed"])["seed"].tolist()


def test_frames_or_none_the_rest_is_the_same(tmp_path: Path) -> None:
    task = replace(TASK, camera=None)
    blind = TeacherDataset.open(collect_tiny(tmp_path / "a", 60, task=task), task)
    seeing = TeacherDataset.open(collect_tiny(tmp_path / "b", 60), TASK)
    everything = np.arange(len(blind))
    for name, values in blind.read(everything).items():
        np.testing.assert_array_equal(values, seeing.read(everything, [name])[name])


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a package that registers an environment, and its teacher's run."""
    (tmp_path / "own_robots.py").write_text(PACKAGE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("own_robots", None)
    gym.registry.pop("Own-v0", None)
    known = {"teacher": {"validation": [1.0] * 9, "evaluation": [1.0] * 9}}
    teacher = tiny_teacher("gaussian", 11, 3, 1.0, "Own-v0", known)
    save_teacher(tmp_path / "taught" / "teacher", teacher.state_dict(), teacher.description, {})
    return tmp_path


def run(*flags: str) -> None:
    main_custom(["--env_id", "own_robots:Own-v0", "--teacher", "taught", *flags])


def test_cloning_and_dagger(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("--C_data", "--num_data", "120", "--output", "data")
    dataset_tools.main(["info", "data"])
    assert "Own-v0, the state only" in capsys.readouterr().out
    assert not (own / "data" / "contact_sheet.png").exists()
    cloning = ("--dataset", "data", "--optimization_steps", "2")
    run("--BC_phase", *cloning, "--output", "clone", *SHORT)
    rounds = ("--rounds", "1", "--round_env_steps", "24", "--round_gradient_steps", "1")
    run("--Dagger_phase", "--folder_Dagger", "clone", *rounds, "--num_envs", "2",
        "--output", "dagger", *SHORT)  # fmt: skip
    for folder in ("clone", "dagger"):
        student = json.loads((own / folder / "student" / "student.json").read_text())
        assert student["observations"] == {"state": [11]}


@pytest.mark.parametrize("camera", [(), ("--camera", "torso", "--frame_size", "16x16")])
def test_its_own_export_comes_back(own: Path, camera: tuple[str, ...]) -> None:
    """By a relative --root, and without a task of the registry."""
    pytest.importorskip("minari", reason="Minari is optional")
    pytest.importorskip("h5py", reason="Minari is optional")
    run("--C_data", "--num_data", "30", *camera, "--output", "data")
    dataset_tools.main(["export", "data", "Own/teacher-v0", "--root", "minari"])
    sources = (
        ("Own/teacher-v0", "--root", "minari"),
        ("minari/Own/teacher-v0", "--task", "own_robots:Own-v0"),
    )
    for number, source in enumerate(sources):
        dataset_tools.main(["import", *source, "--output", f"copy{number}"])
        assert content(own / f"copy{number}") == content(own / "data")
    if not camera:
        task = custom_task("own_robots:Own-v0")
        assert len(TeacherDataset.open("copy0", task)) == len(TeacherDataset.open("data"))
