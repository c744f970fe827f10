"""Random shift against NumPy's padding and cropping; modality dropout against its frequencies."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy

from Algorithm.augmentation import Augmenter, random_shift
from Algorithm.augmentation_config import AugmentationConfig
from Common.errors import UserError
from Models.student.policy import StudentConfig, StudentPolicy

GROUPS = spaces.Dict(
    {
        "frame": spaces.Box(0, 255, (3, 5, 7), np.uint8),
        "proprio": spaces.Box(-np.inf, np.inf, (2,), np.float32),
        "state": spaces.Box(-np.inf, np.inf, (3,), np.float32),
    }
)
ACTIONS = spaces.Box(-1, 1, (2,), np.float32)
MEAN = [3.0, -1.0]


def student(mode: str = "ImpaalaSmall") -> StudentPolicy:
    config = StudentConfig(mode=mode, precision="float32", head=(8,))
    return StudentPolicy(
        GROUPS,
        ACTIONS,
        lambda _: 1e-3,
        config=config,
        group_mean={"proprio": MEAN},
        group_std={"proprio": [2.0, 2.0]},
    )


def observations(n: int) -> dict[str, torch.Tensor]:
    """No pixel is black, and no proprioception its mean."""
    generator = torch.Generator().manual_seed(0)
    return {
        "frame": torch.randint(1, 256, (n, 3, 5, 7), dtype=torch.uint8, generator=generator),
        "proprio": 10 + torch.rand(n, 2, generator=generator),
        "state": torch.rand(n, 3, generator=generator),
    }


def crops(stack: np.ndarray, pixels: int) -> dict[tuple[int, int], np.ndarray]:
    """All crops of a `(stack, H, W)` that was padded by replication, by their offset."""
    height, width = stack.shape[1:]
    edges = ((0, 0), (pixels, pixels), (pixels, pixels))
    padded = np.pad(stack, edges, mode="edge")
    offsets = range(2 * pixels + 1)
    return {(y, x): padded[:, y : y + height, x : x + width] for y in offsets for x in offsets}


@pytest.mark.parametrize("pixels", [1, 2])
def test_every_sample_is_a_crop_of_its_padded_stack_and_all_crops_occur(pixels: int) -> None:
    """The whole stack at once must be one crop: frames of a stack move together."""
    torch.manual_seed(0)
    n = 1000
    frames = observations(1)["frame"].expand(n, -1, -1, -1)
    shifted = random_shift(frames, pixels)
    assert shifted.dtype == torch.uint8
    expected = crops(frames[0].numpy(), pixels)
    counts = dict.fromkeys(expected, 0)
    for sample in shifted.numpy():
        (offset,) = (key for key, crop in expected.items() if np.array_equal(crop, sample))
        counts[offset] += 1
    # 1000 draws of one in 9 or 25, 111 or 40 of each: 5 standard deviations are 50 or 31.
    share, mean = 1 / len(expected), n / len(expected)
    bound = 5 * (n * share * (1 - share)) ** 0.5
    assert all(abs(count - mean) < bound for count in counts.values())


def test_a_shift_by_hand() -> None:
    """One pixel: the rows and columns that come in are the border's."""
    frames = torch.tensor([[[[1, 2], [3, 4]]]], dtype=torch.uint8)
    rows = {(0, 0): [[1, 1], [1, 1]], (1, 1): [[1, 2], [3, 4]], (2, 1): [[3, 4], [3, 4]]}
    torch.manual_seed(0)
    seen = [random_shift(frames, 1)[0, 0].tolist() for _ in range(200)]
    assert all(crop in seen for crop in rows.values())


def test_samples_of_a_batch_move_apart_and_keep_to_their_own_frames() -> None:
    torch.manual_seed(0)
    frames = observations(40)["frame"]
    found = set()
    for before, after in zip(frames.numpy(), random_shift(frames, 2).numpy(), strict=True):
        keys = [key for key, crop in crops(before, 2).items() if np.array_equal(crop, after)]
        assert len(keys) == 1
        found.update(keys)
    assert len(found) > 12  # of 25


def test_frames_of_another_memory_layout_are_shifted_alike() -> None:
    frames = observations(6)["frame"]
    torch.manual_seed(0)
    expected = random_shift(frames, 2)
    torch.manual_seed(0)
    last = random_shift(frames.contiguous(memory_format=torch.channels_last), 2)
    assert torch.equal(last, expected)


def test_dropout_blanks_exactly_one_modality_as_often_as_it_says() -> None:
    torch.manual_seed(0)
    n = 20_000
    obs = observations(n)
    augmented = Augmenter(AugmentationConfig(modality_dropout=0.3), student())(obs)
    assert isinstance(augmented, dict)
    black = (augmented["frame"] == 0).flatten(1).all(1)
    blank = (augmented["proprio"] == torch.tensor(MEAN)).all(1)
    assert not (black & blank).any()
    # Probabilities 0.15 each: a standard deviation of 0.0025.
    assert black.float().mean().item() == pytest.approx(0.15, abs=0.0125)
    assert blank.float().mean().item() == pytest.approx(0.15, abs=0.0125)
    assert torch.equal(augmented["frame"][~black], obs["frame"][~black])
    assert torch.equal(augmented["proprio"][~blank], obs["proprio"][~blank])
    assert augmented["state"] is obs["state"]


def test_a_lost_proprioception_is_zero_once_normalised() -> None:
    torch.manual_seed(0)
    policy, obs = student(), observations(100)
    augmented = Augmenter(AugmentationConfig(modality_dropout=0.9), policy)(obs)
    assert isinstance(augmented, dict)
    blank = (augmented["proprio"] != obs["proprio"]).any(1)
    assert blank.any()
    normalised = policy.normalisers["proprio"](augmented["proprio"])
    assert normalised[blank].abs().max().item() == 0.0


def test_without_augmentation_it_gives_the_very_same_object_and_draws_nothing() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    for mode in ("State", "ImpaalaSmall"):
        policy = student(mode)
        torch.set_rng_state(before)
        obs = observations(4)
        assert Augmenter(AugmentationConfig(), policy)(obs) is obs
        assert torch.equal(torch.get_rng_state(), before)


def test_what_is_given_stays_and_the_global_generator_decides() -> None:
    obs = observations(8)
    kept = {group: tensor.clone() for group, tensor in obs.items()}
    augment = Augmenter(AugmentationConfig(random_shift=2, modality_dropout=0.5), student())
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, second = augment(obs), augment(obs)
    torch.set_rng_state(state)
    again = augment(obs)
    assert isinstance(first, dict) and isinstance(second, dict) and isinstance(again, dict)
    assert not torch.equal(first["frame"], second["frame"])
    for group in obs:
        assert torch.equal(first[group], again[group])
        assert torch.equal(obs[group], kept[group])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"random_shift": -1}, "`random_shift` -1"),
        ({"modality_dropout": -0.1}, "`modality_dropout` -0.1"),
        ({"modality_dropout": 1.0}, "`modality_dropout` 1.0"),
        ({"modality_dropout": float("nan")}, "`modality_dropout` nan"),
    ],
)
def test_bad_configuration(changes: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        AugmentationConfig(**changes)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    "config", [AugmentationConfig(random_shift=1), AugmentationConfig(modality_dropout=0.5)]
)
def test_students_without_frames_are_refused(config: AugmentationConfig) -> None:
    with pytest.raises(UserError, match="not work in mode State"):
        Augmenter(config, student("State"))
    other = ActorCriticPolicy(GROUPS["state"], ACTIONS, lambda _: 1e-3)
    with pytest.raises(UserError, match="not ActorCriticPolicy"):
        Augmenter(config, other)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_what_the_cpu_gives() -> None:
    obs, policy = observations(50), student()
    config = AugmentationConfig(random_shift=2, modality_dropout=0.5)
    torch.manual_seed(0)
    expected = Augmenter(config, policy)(obs)
    torch.manual_seed(0)
    moved = {group: tensor.cuda() for group, tensor in obs.items()}
    on_gpu = Augmenter(config, policy.cuda())(moved)
    assert isinstance(expected, dict) and isinstance(on_gpu, dict)
    for group in obs:
        assert on_gpu[group].device.type == "cuda"
        assert torch.equal(on_gpu[group].cpu(), expected[group])
