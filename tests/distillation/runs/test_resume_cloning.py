"""Cloning and DAgger that were stopped at a boundary go on to the same bits."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.logger import Logger

from Algorithm.augmentation_config import AugmentationConfig
from Algorithm.cloning.bc import BehaviouralCloning
from Algorithm.cloning.config import CloningConfig, DaggerConfig
from Algorithm.cloning.dagger import DAgger
from Algorithm.cloning.loop import SupervisedLearner
from Algorithm.cloning.replay import PrioritisedReplay, ReplayConfig
from Common.errors import UserError
from Common.runs.checkpoint import CheckpointStore
from Common.runs.generators import capture_generators, restore_generators
from Common.runs.packing import pack, unpack
from Enviroment.make import make_env
from Enviroment.tasks import get_task
from Models.distributions import SquashedGaussian
from Models.student.policy import StudentConfig, StudentPolicy
from tests.support.cloning_data import MemoryData, Recorder, student
from tests.support.tiny_teacher import tiny_teacher

CLONING = CloningConfig(
    gradient_steps=24, batch_size=16, held_out=0.1, log_every=5, validate_every=10
)
SHIFT = AugmentationConfig(random_shift=2, modality_dropout=0.3)
UNIFORM, PER = ReplayConfig(), ReplayConfig(alpha=0.6, mode_alpha="linear", anneal_every=4)
FRAMES = dataclasses.replace(get_task("Pusher"), frame_size=(16, 16), stack=2)
N_ENVS = 2
ROUNDS = DaggerConfig(
    rounds=2,
    env_steps=20,
    gradient_steps=5,
    beta_schedule="constant",
    beta=0.5,
    deterministic=False,
)

TIMES = (
    *("time/seconds", "time/training_seconds", "time/collection_seconds"),
    *("time/samples_per_second", "time/data_share"),
)


class StoppedError(Exception):
    """The run ends here."""


def store_at(learner: SupervisedLearner, work: int, folder: Path) -> None:
    """Stores a checkpoint when that much work is done, and ends the run."""

    def boundary() -> None:
        if learner.work_done >= work:
            state = {"learner": learner.capture(), "generators": capture_generators()}
            tensors, values = pack(state)
            CheckpointStore(folder).save(learner.work_done, {"run": tensors}, {"run": values})
            raise StoppedError

    learner.on_boundary = boundary


def go_on(learner: SupervisedLearner, folder: Path) -> None:
    """What a new process does, whose generators are elsewhere."""
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(99)
    found = CheckpointStore(folder).newest()
    assert found is not None
    state = unpack(found.tensors("run"), found.values["run"])
    learner.restore(state["learner"])
    restore_generators(state["generators"])
    assert learner.work_done == found.step


def logged(*recorders: Recorder) -> list[dict[str, Any]]:
    """All points, without times."""
    return [
        {key: value for key, value in point.items() if key not in TIMES}
        for recorder in recorders
        for point in recorder.points
    ]


def assert_same_end(ours: SupervisedLearner, theirs: SupervisedLearner) -> None:
    for name, tensor in theirs.policy.state_dict().items():
        assert torch.equal(ours.policy.state_dict()[name], tensor), name
    assert ours.best_loss == theirs.best_loss
    assert (ours.gradient_steps, ours.env_steps) == (theirs.gradient_steps, theirs.env_steps)
    assert isinstance(ours.replay, PrioritisedReplay)
    assert isinstance(theirs.replay, PrioritisedReplay)
    np.testing.assert_array_equal(ours.replay.probabilities(), theirs.replay.probabilities())


def check(make: Callable[[], tuple[Any, Recorder]], work: int, folder: Path) -> None:
    """An uninterrupted run against one that is stopped, stored and gone on with."""
    (whole, expected), (stopped, before), (rest, after) = make(), make(), make()
    torch.manual_seed(1)
    whole.learn()
    torch.manual_seed(1)
    store_at(stopped, work, folder)
    with pytest.raises(StoppedError):
        stopped.learn()
    go_on(rest, folder)
    rest.learn()
    assert_same_end(rest, whole)
    assert logged(before, after) == logged(expected)


# -- behavioural cloning --------------------------------------------------------------


def cloning(
    mode: str = "State",
    replay: ReplayConfig = UNIFORM,
    augmentation: AugmentationConfig | None = None,
    data: MemoryData | None = None,
    **changes: Any,
) -> tuple[BehaviouralCloning, Recorder]:
    recorder, config = Recorder(), dataclasses.replace(CLONING, **changes)
    data = data or MemoryData()
    model = BehaviouralCloning(student(mode), data, config, replay, 3, augmentation)
    model.set_logger(Logger(None, [recorder]))
    return model, recorder


@pytest.mark.parametrize("replay", [UNIFORM, PER])
@pytest.mark.parametrize("work", [0, 1, 10, 13, 24])
def test_cloning(tmp_path: Path, replay: ReplayConfig, work: int) -> None:
    check(lambda: cloning(replay=replay), work, tmp_path)


@pytest.mark.parametrize("replay", [UNIFORM, PER])
def test_cloning_from_augmented_frames(tmp_path: Path, replay: ReplayConfig) -> None:
    check(lambda: cloning("ImpaalaSmall", replay, SHIFT, gradient_steps=11), 7, tmp_path)


def test_batches_that_were_read_ahead_are_neither_lost_nor_doubled(tmp_path: Path) -> None:
    # An epoch of 180 samples is 9 batches of 20; the run stops after 4, with the fifth read.
    trained: list[np.ndarray] = []

    def make() -> BehaviouralCloning:
        model, _ = cloning(batch_size=20, gradient_steps=9)
        step = model._gradient_step

        def spy(batch: Any, draw: Any, rate: float) -> None:
            trained.append(draw.indices)
            step(batch, draw, rate)

        model._gradient_step = spy  # pyright: ignore[reportAttributeAccessIssue]
        return model

    stopped, rest = make(), make()
    store_at(stopped, 4, tmp_path)
    with pytest.raises(StoppedError):
        stopped.learn()
    assert len(trained) == 4
    go_on(rest, tmp_path)
    rest.learn()
    assert sorted(np.concatenate(trained).tolist()) == list(range(180))


def test_boundaries_are_around_every_gradient_step() -> None:
    model, _ = cloning()
    work: list[int] = []
    model.on_boundary = lambda: work.append(model.work_done)
    model.learn()
    assert work == list(range(25))


# -- DAgger ---------------------------------------------------------------------------


@contextmanager
def dagger(**changes: Any) -> Iterator[Callable[[], tuple[DAgger, Recorder]]]:
    """Makes learners with environments of their own, from nothing."""
    envs = []

    def make() -> tuple[DAgger, Recorder]:
        envs.append(make_env(FRAMES, N_ENVS, seed=7 * len(envs), workers="serial"))
        env, recorder = envs[-1], Recorder()
        torch.manual_seed(0)
        config = StudentConfig(
            mode="ImpaalaSmall", family=SquashedGaussian.family, precision="float32", head=(16,)
        )
        policy = StudentPolicy(
            env.observation_space, env.action_space, lambda _: 1e-3, config=config
        )
        cloning = dataclasses.replace(CLONING, batch_size=8, log_every=3)
        settings = dataclasses.replace(ROUNDS, **changes)
        model = DAgger(policy, env, tiny_teacher(), None, cloning, settings, PER, seed=5)
        model.set_logger(Logger(None, [recorder]))
        return model, recorder

    try:
        yield make
    finally:
        for env in envs:
            env.close()


# 10 steps of 2 environments a round, then 5 gradient steps: in the first collection, right after
# it, in its training, at its end, in the second collection, after it, in its training, at the end.
@pytest.mark.parametrize("work", [6, 20, 23, 25, 31, 45, 48, 50])
def test_dagger(tmp_path: Path, work: int) -> None:
    with dagger() as make:
        check(make, work, tmp_path)


def test_dagger_across_the_end_of_episodes(tmp_path: Path) -> None:
    with dagger(rounds=1, env_steps=206, gradient_steps=2) as make:  # an episode has 100 steps
        check(make, 204, tmp_path)


def test_boundaries_of_dagger_rise_and_include_the_steps_of_a_round() -> None:
    with dagger() as make:
        model, _ = make()
        work: list[int] = []
        model.on_boundary = lambda: work.append(model.work_done)
        model.learn()
        assert work == [*range(2, 22, 2), *range(21, 26), *range(27, 47, 2), *range(46, 51)]


def test_what_a_checkpoint_of_dagger_holds(tmp_path: Path) -> None:
    with dagger() as make:
        model, _ = make()
        store_at(model, 31, tmp_path)
        with pytest.raises(StoppedError):
            model.learn()
        tensors, values = pack(model.capture())
        # 13 steps of 2 environments, each frame once; 10 of them belong to the first round.
        assert tensors["state.aggregate.frames"].shape == (13, N_ENVS, 1, 16, 16)
        assert unpack({}, values["dict"]["round"]) == 1
        assert values["dict"]["collecting"]["dict"]["steps"] == 3


# -- what cannot be gone on with ------------------------------------------------------


def other_labels() -> MemoryData:
    data = MemoryData()
    data.columns["distribution.mean"][3] += 0.1
    return data


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: cloning(data=MemoryData(40)), r"dataset\.states was 200 and is 400"),
        (lambda: cloning(data=other_labels()), r"dataset\.sha256 was"),
        (
            lambda: cloning(learning_rate=0.01, weight_decay=0.0),
            r"config\.learning_rate was 0\.001 and is 0\.01; config\.weight_decay was 0\.0001",
        ),
        (lambda: cloning(replay=PER), r"replay\.alpha was 0\.0 and is 0\.6"),
        (lambda: cloning("ImpaalaSmall"), r'student\.mode was "State" and is "ImpaalaSmall"'),
        (lambda: cloning("ImpaalaSmall", augmentation=SHIFT), r"augmentation\.random_shift was 0"),
    ],
)
def test_a_checkpoint_of_another_training(make: Callable[[], Any], message: str) -> None:
    state = cloning()[0].capture()
    model, _ = make()
    before = {name: tensor.clone() for name, tensor in model.policy.state_dict().items()}
    with pytest.raises(UserError, match=f"of another training: .*{message}"):
        model.restore(state)
    for name, tensor in model.policy.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_a_checkpoint_of_another_method() -> None:
    state = cloning()[0].capture()
    with dagger() as make:
        model, _ = make()
        with pytest.raises(UserError, match="hold a DAgger training, but BehaviouralCloning"):
            model.restore(state)
        with pytest.raises(UserError, match=r"dagger\.rounds was 2 and is 3"):
            _restore_rounds(model.capture())
    with pytest.raises(UserError, match="not hold a BehaviouralCloning training"):
        cloning()[0].restore({"policy": {}})


def test_states_of_older_versions() -> None:
    """Cloning goes on; DAgger, whose learning rate has changed, is refused in one sentence."""
    state = cloning()[0].capture()
    del state["made_with"]["config"]["nll_beta"]
    cloning()[0].restore(state)
    with dagger() as make:
        state = make()[0].capture()
        del state["made_with"]["dagger"]["warmup"]
        with pytest.raises(UserError, match="learning rate began anew in every round"):
            make()[0].restore(state)


def _restore_rounds(state: dict[str, Any]) -> None:
    with dagger(rounds=3) as make:
        make()[0].restore(state)


# -- memory layouts -------------------------------------------------------------------


def test_moments_of_convolutions_keep_their_place_in_memory() -> None:
    moments = torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last)
    tensors, values = pack([moments, moments.contiguous()])
    # As safetensors gives them back: values in the order of indices, whatever the strides were.
    read = {name: tensor.contiguous() for name, tensor in tensors.items()}
    kept, plain = unpack(read, values)
    assert torch.equal(kept, moments) and kept.stride() == moments.stride()
    assert torch.equal(plain, moments) and plain.is_contiguous()
