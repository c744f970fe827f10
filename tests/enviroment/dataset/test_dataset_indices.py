"""Datasets of own environments whose actions are indices: Minari's, LeRobot's, and `info`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

from Enviroment.custom import custom_task
from Enviroment.dataset import __main__ as dataset_tools
from Enviroment.dataset.collect import collect
from Enviroment.dataset.lerobot.export import export_lerobot
from Enviroment.dataset.lerobot.importing import import_lerobot
from Enviroment.dataset.minari_exchange import export_minari, import_minari
from Enviroment.dataset.reader import TeacherDataset
from Enviroment.dataset.recording import Obs
from Enviroment.task import Task
from tests.support.environments import own_envs
from tests.support.tiny_dataset import content

CHOICES = {"discrete": 1, "choices": 2, "switches": 2}  # number of indices per action


class CountingTeacher:
    """Labels each state with the indices 0 and 1 in turn, by the parity of its first number."""

    groups = ("state",)
    identity = {"sha256": "counts", "family": "categorical", "min_std": 0.05}  # noqa: RUF012

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, observations: Obs) -> dict[str, np.ndarray]:
        state = observations["state"]
        first = (np.abs(state[:, 0]) % 2).astype(np.int64)  # (B,)
        action = first if self.size == 1 else np.stack([first, 1 - first], 1)
        return {"action": action, "distribution.logits": state[:, :3].astype(np.float32)}

    def check_fits(
        self, task: str, observation_space: spaces.Space, action_space: spaces.Space
    ) -> None:
        """Accept every task."""


@pytest.fixture(scope="module", params=list(CHOICES))
def recorded(request, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Task, Path]]:
    own_envs.register()
    task = custom_task("Line-v0", env_kwargs={"actions": request.param})
    folder = tmp_path_factory.mktemp(request.param) / "data"
    yield task, collect(task, CountingTeacher(CHOICES[request.param]), folder, 30, n_envs=2)
    own_envs.unregister()


def test_minari_there_and_back(recorded: tuple[Task, Path], tmp_path: Path) -> None:
    pytest.importorskip("minari", reason="Minari is optional")
    task, folder = recorded
    export_minari(TeacherDataset.open(folder, task), "mine/own-v0", tmp_path / "minari")
    import_minari("mine/own-v0", task, tmp_path / "back", tmp_path / "minari")
    assert content(tmp_path / "back") == content(folder)


def test_lerobot_there_and_back(recorded: tuple[Task, Path], tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is optional")
    task, folder = recorded
    export_lerobot(TeacherDataset.open(folder, task), tmp_path / "out", instruction="find it")
    import_lerobot(tmp_path / "out", task, tmp_path / "back")
    assert content(tmp_path / "back") == content(folder)


def test_info_shows_the_share_of_each_index(
    recorded: tuple[Task, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    task, folder = recorded
    actions = TeacherDataset.open(folder, task).read(np.arange(30), ["action"])["action"]
    assert actions.dtype == np.int64
    dataset_tools.main(["info", str(folder)])
    share = float((actions.reshape(30, -1)[:, 0] == 0).mean())
    assert f"share of each from 0 on [{share:.3g} {1 - share:.3g}]" in capsys.readouterr().out
