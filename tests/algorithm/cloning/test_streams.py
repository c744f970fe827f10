"""Streams of episodes by counting, hidden states that are carried on, bit-for-bit resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.logger import Logger

from Algorithm.cloning.bc import BehaviouralCloning
from Algorithm.cloning.config import CloningConfig, DaggerConfig
from Algorithm.cloning.dagger import DAgger
from Algorithm.cloning.forward import Forward
from Algorithm.cloning.loop import SupervisedLearner
from Algorithm.cloning.replay import ReplayConfig
from Algorithm.cloning.samples.aggregate import Aggregate
from Algorithm.cloning.streams import EpisodeStreams, episodes_of
from Algorithm.cloning.validation import to_validate
from Common.errors import UserError
from Enviroment.make import make_env
from Models.distributions import SquashedGaussian
from Models.networks.recurrent import Past
from Models.student.policy import StudentConfig, StudentPolicy
from tests.distillation.runs.test_resume_cloning import (
    FRAMES,
    StoppedError,
    go_on,
    logged,
    store_at,
)
from tests.support.cloning_data import MemoryData, Recorder, student
from tests.support.tiny_teacher import tiny_teacher

CLONING = CloningConfig(
    *("KL",), gradient_steps=24, batch_size=12, held_out=0.1, log_every=5, validate_every=10,
    sequence_length=4,
)  # fmt: skip
ROUNDS = DaggerConfig(rounds=2, env_steps=20, gradient_steps=5, beta_schedule="constant", beta=0.5)


class Unequal:
    """Episodes of 3, 5, 1 and 6 steps, interleaved as environments are."""

    family = SquashedGaussian.family
    numbers = np.array([0, 1, 0, 1, 0, 1, 2, 1, 3, 1, 3, 3, 3, 3, 3])

    def __len__(self) -> int:
        return len(self.numbers)

    def read(self, indices: np.ndarray, columns: Any) -> dict[str, np.ndarray]:
        raise NotImplementedError

    def episode_numbers(self) -> np.ndarray:
        return self.numbers


class Rounds(Unequal):
    """The last 4 samples are of the latest round."""

    numbers = np.array([0, 1, 0, 1, 0, 1, 2, 2, 3, 2])


def streams(data: Any, length: int = 4, n_new: int = 0) -> EpisodeStreams:
    made = EpisodeStreams(data, length, ReplayConfig(), seed=0)
    made.add(len(data) - n_new, new=False)
    if n_new:
        made.add(n_new, new=True)
    return made


def test_episodes_are_found_in_the_order_of_time() -> None:
    found = [samples.tolist() for samples in episodes_of(Unequal.numbers)]
    assert found == [[0, 2, 4], [1, 3, 5, 7, 9], [6], [8, 10, 11, 12, 13, 14]]


def test_each_stream_plays_episodes_from_beginning_to_end() -> None:
    """And all streams together play each episode equally often."""
    made, played = streams(Unequal()), [[], []]
    for _ in range(30):
        draw = made.draw(8)
        assert draw.starts is not None and draw.starts.shape == (4, 2)
        steps = draw.indices.reshape(4, 2)
        for stream in range(2):
            played[stream] += zip(steps[:, stream].tolist(), draw.starts[:, stream], strict=True)
    episodes = {samples[0]: samples.tolist() for samples in episodes_of(Unequal.numbers)}
    times = dict.fromkeys(episodes, 0)
    for steps in played:
        at = 0
        while at < len(steps):
            first, starts = steps[at]
            assert starts
            expected = episodes[first][: len(steps) - at]
            assert [step for step, _ in steps[at : at + len(expected)]] == expected
            assert not any(begins for _, begins in steps[at + 1 : at + len(expected)])
            at, times[first] = at + len(expected), times[first] + 1
    assert max(times.values()) - min(times.values()) <= 1


def test_new_episodes_have_streams_of_their_own() -> None:
    made = streams(Rounds(), n_new=4)
    old = set()
    for _ in range(3):
        steps = made.draw(16, new_share=0.25).indices.reshape(4, 4)
        assert set(steps[:, 3].tolist()) <= {6, 7, 8, 9}
        old |= set(steps[:, :3].ravel().tolist())
    assert old == {0, 1, 2, 3, 4, 5}
    only_old = streams(Unequal()).draw(16, new_share=0.5)
    assert len(only_old.indices) == 16


def test_a_single_stream_plays_new_episodes_too() -> None:
    """Half a stream is none: rounded to 0, the latest round would never be learned from."""
    made, played = streams(Rounds(), n_new=4), set()
    for _ in range(3):  # 12 steps are at least all 10 samples of one epoch
        played |= set(made.draw(4, new_share=0.5).indices.tolist())
    assert played == set(range(10))


def test_restored_streams_go_on() -> None:
    one, other = streams(Unequal()), streams(Unequal())
    for _ in range(3):
        one.draw(8)
    other.restore(one.capture())
    for _ in range(5):
        ours, theirs = one.draw(8), other.draw(8)
        np.testing.assert_array_equal(ours.indices, theirs.indices)
        np.testing.assert_array_equal(ours.starts, theirs.starts)


def test_the_episodes_of_collected_states_by_hand() -> None:
    """2 environments, 3 steps; that of environment 1 begins again at step 2. Before: MemoryData."""
    data = Aggregate(MemoryData(2), SquashedGaussian.family, 4, 2, None)
    labels = SquashedGaussian(torch.zeros(2, 2), torch.zeros(2, 2))
    for starts in ([True, True], [False, False], [False, True]):
        data.add({"proprio": np.zeros((2, 3))}, np.array(starts), labels)
    # Sample 20 + step * 2 + env; episodes 0 and 1 are those of the base.
    assert data.episode_numbers()[20:].tolist() == [2, 3, 2, 3, 2, 4]
    assert data.episode_numbers()[:20].tolist() == [0] * 10 + [1] * 10


def test_hidden_states_are_carried_on_to_the_next_batch() -> None:
    """Batches of 4 steps, one after the other, compute what one of 12 steps does."""
    policy, data = student("ImpaalaSmall", recurrent="gru"), MemoryData(3)
    whole, parts = {}, []
    starts = np.zeros((12, 1), bool)
    starts[[0, 10]] = True
    forward = Forward(policy, 1)
    for at in (0, 4, 8):
        rows = data.read(np.arange(at, at + 4), ["frame", "proprio"])
        obs = {group: torch.as_tensor(array) for group, array in rows.items()}
        parts.append(forward(obs, starts[at : at + 4]).mode())
    assert forward.hidden is not None and not forward.hidden.requires_grad
    rows = data.read(np.arange(12), ["frame", "proprio"])
    whole = {group: torch.as_tensor(array) for group, array in rows.items()}
    past = Past(torch.zeros(1, 8), torch.as_tensor(starts))
    expected = policy.distribution(whole, past).mode()
    torch.testing.assert_close(torch.cat(parts), expected, rtol=1e-4, atol=1e-5)


def test_validation_plays_whole_episodes() -> None:
    samples, starts = to_validate(Unequal(), 8, recurrent=True)
    assert samples.tolist() == [0, 2, 4, 1, 3, 5, 7, 9]
    assert np.flatnonzero(starts).tolist() == [0, 3]


def cloning() -> tuple[BehaviouralCloning, Recorder]:
    model = BehaviouralCloning(student("ImpaalaSmall", recurrent="gru"), MemoryData(), CLONING)
    return with_recorder(model)


def with_recorder(model: Any) -> tuple[Any, Recorder]:
    recorder = Recorder()
    model.set_logger(Logger(None, [recorder]))
    return model, recorder


def dagger() -> tuple[DAgger, Recorder]:
    torch.manual_seed(0)
    env = make_env(FRAMES, 2, seed=0)
    config = StudentConfig(
        family=SquashedGaussian.family,
        precision="float32",
        head=(16,),
        recurrent="gru",
        recurrent_units=8,
    )
    policy = StudentPolicy(env.observation_space, env.action_space, lambda _: 1e-3, config=config)
    return with_recorder(DAgger(policy, env, tiny_teacher(), None, CLONING, ROUNDS))


@pytest.mark.parametrize(
    ("make", "work"), [(cloning, 7), (cloning, 20), (dagger, 6), (dagger, 23), (dagger, 34)]
)
def test_a_stopped_training_goes_on_to_the_bit(make: Any, work: int, tmp_path: Path) -> None:
    """Cloning between batches; DAgger within a round's collection, and between its batches."""
    learners: list[tuple[SupervisedLearner, Recorder]] = [make() for _ in range(3)]
    (whole, expected), (stopped, before), (rest, after) = learners
    torch.manual_seed(1)
    whole.learn()  # pyright: ignore[reportAttributeAccessIssue]
    torch.manual_seed(1)
    store_at(stopped, work, tmp_path)
    with pytest.raises(StoppedError):
        stopped.learn()  # pyright: ignore[reportAttributeAccessIssue]
    go_on(rest, tmp_path)
    rest.learn()  # pyright: ignore[reportAttributeAccessIssue]
    for name, tensor in whole.policy.state_dict().items():
        assert torch.equal(rest.policy.state_dict()[name], tensor), name
    assert logged(before, after) == logged(expected)
    hidden = [learner._step.forward.hidden for learner in (rest, whole)]
    assert hidden[0] is not None and hidden[1] is not None
    assert torch.equal(hidden[0], hidden[1]) and (hidden[0] != 0).any()


def test_what_recurrent_students_cannot_learn_from_is_refused() -> None:
    policy, data = student("ImpaalaSmall", recurrent="gru"), MemoryData()
    with pytest.raises(UserError, match=r"`alpha` 0.6: recurrent students"):
        BehaviouralCloning(policy, data, CLONING, ReplayConfig(alpha=0.6))
    with pytest.raises(UserError, match=r"`batch_size` 32 must be a multiple of the 5"):
        BehaviouralCloning(policy, data, CloningConfig(sequence_length=5))

    class Loose(Unequal):
        episode_numbers = None  # pyright: ignore[reportAssignmentType]

    with pytest.raises(UserError, match="needs data in episodes, but Loose"):
        EpisodeStreams(Loose(), 4, ReplayConfig(), seed=0)
