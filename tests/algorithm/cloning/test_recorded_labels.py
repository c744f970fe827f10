"""Labels around recorded actions, against arithmetic; and a dataset of LeRobot that is cloned."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces

from Algorithm.cloning.samples.array_samples import ArraySamples
from Algorithm.cloning.samples.data import TeacherSamples
from Algorithm.cloning.samples.recorded_labels import RecordedLabels
from Common.errors import UserError
from Distillation.command import main
from Enviroment.dataset.lerobot.importing import import_lerobot
from Enviroment.dataset.reader import TeacherDataset
from Enviroment.tasks import TASKS
from Models.distributions import FAMILIES, SquashedGaussian
from Models.families import BERNOULLI, CATEGORICAL, GAUSSIAN, SQUASHED_GAUSSIAN
from tests.support.sharing.lerobot_side import CAMERA, FPS, SIZE, recorded

WRITTEN = Path(__file__).parents[2] / "support" / "sharing" / "lerobot_written" / "image"
BOX = spaces.Box(np.array([-2, 0], np.float32), np.array([2, 1], np.float32))


def parameters(family: str, space: spaces.Space, actions: np.ndarray) -> dict[str, np.ndarray]:
    columns = RecordedLabels(family, space).of(actions)
    return {name.removeprefix("distribution."): values for name, values in columns.items()}


def test_the_mode_of_a_label_is_the_recorded_action() -> None:
    actions = np.array([[1.0, 0.25], [-2.0, 1.0]], np.float32)
    gaussian = parameters(GAUSSIAN, BOX, actions)
    np.testing.assert_array_equal(gaussian["mean"], actions)
    # A fifth of the half widths, 2 and 0.5.
    np.testing.assert_allclose(np.exp(gaussian["log_std"]), [[0.4, 0.1]] * 2, rtol=1e-6)
    squashed = parameters(SQUASHED_GAUSSIAN, BOX, actions)
    shares = SquashedGaussian(**{k: torch.as_tensor(v) for k, v in squashed.items()})
    in_units = shares.to_env_action(shares.mode()).numpy() * [2, 0.5] + [0, 0.5]
    np.testing.assert_allclose(in_units[0], actions[0], atol=1e-6)
    np.testing.assert_allclose(in_units[1], actions[1], atol=0.002)  # at the bounds: 0.999 of them
    logits = parameters(CATEGORICAL, spaces.Discrete(3), np.array([2, 0]))["logits"]
    assert logits.argmax(axis=1).tolist() == [2, 0]


@pytest.mark.parametrize("family", [GAUSSIAN, SQUASHED_GAUSSIAN])
def test_labels_of_a_dimension_with_a_single_action_are_finite(family: str) -> None:
    """A gripper that is locked, for example; the other dimension is as without it."""
    locked = spaces.Box(np.array([-2, 0.5], np.float32), np.array([2, 0.5], np.float32))
    labels = parameters(family, locked, np.array([[1.0, 0.5]], np.float32))
    alone = spaces.Box(-2.0, 2.0, (1,), np.float32)
    for name, values in parameters(family, alone, np.array([[1.0]], np.float32)).items():
        assert np.isfinite(labels[name]).all()
        assert labels[name][0, 0] == values[0, 0]


def test_what_cannot_be_a_label() -> None:
    for family, space in ((GAUSSIAN, spaces.Discrete(3)), (CATEGORICAL, BOX), (BERNOULLI, BOX)):
        with pytest.raises(UserError, match=f"cannot be labels of a {family} student"):
            RecordedLabels(family, space)
    with pytest.raises(UserError, match=r"Recorded actions are 0 to 5, .* 0 to 2"):
        parameters(CATEGORICAL, spaces.Discrete(3), np.array([0, 5]))
    with pytest.raises(UserError, match=r"Recorded actions are float32, not indices of Discrete"):
        parameters(CATEGORICAL, spaces.Discrete(3), np.zeros(2, np.float32))
    with pytest.raises(UserError, match=r"shape \(3,\), not \(2,\)"):
        parameters(GAUSSIAN, BOX, np.zeros((1, 3), np.float32))


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("pyarrow", reason="pyarrow is optional")
    task = replace(TASKS["Reacher"], frame_size=SIZE)
    return import_lerobot(WRITTEN, task, tmp_path_factory.mktemp("x") / "steps", fps=FPS)


@pytest.mark.parametrize("family", [GAUSSIAN, SQUASHED_GAUSSIAN])
def test_an_imported_dataset_gets_labels_of_the_students_family(steps: Path, family: str) -> None:
    pytest.importorskip("pyarrow")
    dataset = TeacherDataset.open(steps)
    space = spaces.Box(-1, 1, (2,), np.float32)
    samples = TeacherSamples(dataset, recorded=RecordedLabels(family, space))
    assert samples.family == family in FAMILIES
    batch = samples.read(np.array([3, 0]), ("proprio", "distribution.mean", "distribution.log_std"))
    actions = recorded()["action"][[3, 0]]
    mean = actions if family == GAUSSIAN else np.arctanh(actions)
    np.testing.assert_allclose(batch["distribution.mean"], mean, atol=1e-5)
    assert batch["proprio"].shape == (2, 6)
    with pytest.raises(UserError, match="does not name a family"):
        TeacherSamples(dataset)


def test_a_student_is_cloned_from_it(steps: Path, tmp_path: Path) -> None:
    """`--BC_phase` on recordings, by the command."""
    short = "--batch_size 4 --optimization_steps 3 --eval_episodes 1 --final_episodes 1 --threads 1"
    quiet = "--device cpu --no_video --wandb disabled --mode ImpaalaSmall --frame_size 24x32"
    out = tmp_path / "run"
    words = ["--BC_phase", "--dataset", str(steps), "--output", str(out)]
    main("Reacher", [*words, *short.split(), *quiet.split()])
    description = json.loads((out / "student" / "student.json").read_text())
    assert description["method"] == "BC_phase"


@pytest.mark.parametrize("stored", ["image", "video"])
def test_a_folder_of_lerobot_as_samples(stored: str) -> None:
    pytest.importorskip("pyarrow")
    folder, wanted = WRITTEN.parent / stored, recorded()
    samples = ArraySamples.from_lerobot(folder, "top", frame_size=SIZE, stack=1)
    assert len(samples) == 16
    batch = samples.read(np.arange(16), ("frame", "proprio"))
    np.testing.assert_array_equal(batch["proprio"], wanted["observation.state"])
    difference = np.abs(batch["frame"].astype(int) - wanted[CAMERA].transpose(0, 3, 1, 2))
    assert difference.mean() <= (2 if stored == "video" else 0)
    small = ArraySamples.from_lerobot(str(folder), frame_size=(16, 16), grayscale=True)
    assert small.observation_space["frame"].shape == (4, 16, 16)
    with pytest.raises(UserError, match="`camera` 'tap' is not in"):
        ArraySamples.from_lerobot(folder, "tap")
