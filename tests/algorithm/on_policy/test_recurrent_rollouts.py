"""On-policy learning of recurrent students: sequences by hand, the first ratio, resume."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from Algorithm.acting import Actor
from Algorithm.on_policy.distill import StudentDistill, TeacherDistill
from Algorithm.on_policy.loop import OnPolicyStudent
from Algorithm.on_policy.ppd import PPD
from Algorithm.on_policy.rollout import StudentRolloutBuffer
from Algorithm.sequences import check_sequences
from Common.errors import UserError
from Common.runs.generators import capture_generators, restore_generators
from Common.runs.packing import pack, unpack
from Enviroment.make import make_env
from Models.distributions import DiagGaussian
from Models.networks.recurrent import Past
from Models.student.policy import StudentConfig, StudentPolicy
from tests.algorithm.on_policy.test_ppd import Recorder, recorded
from tests.support.tiny_teacher import tiny_teacher

UNITS = 6


def student_of(algorithm: type[OnPolicyStudent], n_envs: int = 3, **settings: Any) -> Any:
    """An algorithm with a recurrent student of Pusher, whose episodes end at different steps."""
    torch.manual_seed(0)
    env = make_env("Pusher", n_envs, seed=0, blind=True, stagger=True)
    config = StudentConfig(
        family="squashed_gaussian", precision="float32", recurrent="gru", recurrent_units=UNITS
    )
    settings = {"n_steps": 8, "sequence_length": 4, "seed": 1, "device": "cpu", **settings}
    kwargs = {"config": config}
    return algorithm(StudentPolicy, env, tiny_teacher(), policy_kwargs=kwargs, **settings)


def test_sequences_by_hand() -> None:
    """2 environments x 4 steps in sequences of 2: sample env * 4 + step, time-major."""
    box = spaces.Box(-99, 99, (1,))
    buffer = StudentRolloutBuffer(4, box, spaces.Box(-1, 1, (1,)), n_envs=2, sequence_length=2)
    starts = np.array([[1, 0], [0, 0], [0, 1], [1, 0]], bool)  # (n_steps, n_envs)
    for step in range(4):
        obs = np.array([[step], [4.0 + step]], np.float32)  # the number of the sample
        hidden = torch.tensor([[10.0 + step], [20.0 + step]])
        dist = DiagGaussian(torch.zeros(2, 1), torch.zeros(2, 1))
        extra = (dist, torch.zeros(2), None, hidden)
        buffer.add_step(obs, torch.zeros(2, 1), np.zeros(2), starts[step], *extra)
    buffer.compute_returns_and_advantage(torch.zeros(2), np.zeros(2))
    # Sequence: samples, hidden state before it, where episodes begin in it.
    expected = {
        0: ([0, 1], 10, [True, False]),
        1: ([2, 3], 12, [False, True]),
        2: ([4, 5], 20, [False, False]),
        3: ([6, 7], 22, [True, False]),
    }
    seen = []
    for batch in buffer.minibatches(4):
        assert isinstance(batch.obs, torch.Tensor) and batch.past is not None
        samples = batch.obs.view(2, 2).int()  # (length, sequences)
        for s in range(2):
            number = int(samples[0, s]) // 2
            found = (samples[:, s].tolist(), batch.past.hidden[s].item())
            assert (*found, batch.past.starts[:, s].tolist()) == expected[number]
            seen.append(number)
    assert sorted(seen) == [0, 1, 2, 3]


@pytest.mark.parametrize("algorithm", [PPD, StudentDistill, TeacherDistill])
def test_ratio_is_one_at_the_first_minibatch(algorithm: type[OnPolicyStudent]) -> None:
    """Over episodes that end within rollouts and within sequences: Pusher's have 100 steps."""
    more = {"batch_size": 12, "n_epochs": 1} if algorithm is PPD else {}
    model = student_of(algorithm, **more)
    begins = []
    add = StudentRolloutBuffer.add_step

    def spy(self: StudentRolloutBuffer, *step: Any) -> None:
        begins.append(np.array(step[3]))
        add(self, *step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StudentRolloutBuffer, "add_step", spy)
        points = recorded(model, Recorder(), 24 * 14)
    inside = np.stack(begins)[np.arange(len(begins)) % 4 != 0]
    assert inside.any()  # an episode began within a sequence
    assert len(points) == 14
    for point in points:
        assert point["train/ratio_first"] == pytest.approx(1.0, abs=1e-4)
    model.env.close()


def test_the_actor_forgets_at_the_beginning_of_an_episode_and_looks_ahead_without_memory() -> None:
    model = student_of(PPD, batch_size=12)
    policy, actor = model.policy, Actor(model.policy, 3)
    obs: Any = model.env.reset()
    tensors = {group: torch.as_tensor(array) for group, array in obs.items()}
    with torch.no_grad():
        actor(tensors, np.ones(3, bool))
        hidden = actor.hidden
        assert hidden is not None and (hidden != 0).any(-1).all()
        begins = np.array([False, True, False])
        values = actor.values(obs, begins)
        assert actor.hidden is hidden
        last = {group: array[[2, 0]] for group, array in obs.items()}
        of_two = actor.values_of(last, np.array([2, 0]))
        student, _ = actor(tensors, begins)
        for env in range(3):
            own = hidden[env : env + 1] * (env != 1)
            one = {group: tensor[env : env + 1] for group, tensor in tensors.items()}
            past = Past(own, torch.zeros(1, 1, dtype=torch.bool))
            dist, value = policy.distribution_and_value(one, past)
            torch.testing.assert_close(student.mode()[env], dist.mode()[0])
            torch.testing.assert_close(values[env], value[0])
            if env != 1:
                torch.testing.assert_close(of_two[[2, 0].index(env)], value[0])
    model.env.close()


def test_a_stopped_training_goes_on_to_the_bit() -> None:
    """Stopped after the third rollout, within episodes, whose hidden states are not zero."""
    settings = {"batch_size": 12, "n_epochs": 2}
    whole = student_of(PPD, **settings).learn(24 * 6)
    stopped, state = student_of(PPD, **settings), {}

    def store() -> None:
        if stopped.num_timesteps == 24 * 3:
            both = {"model": stopped.capture(), "generators": capture_generators()}
            tensors, values = pack(both)
            state.update(unpack({name: t.clone() for name, t in tensors.items()}, values))

    stopped.on_boundary = store
    stopped.learn(24 * 4)
    assert (state["model"]["actor"]["hidden"] != 0).any()
    rest = student_of(PPD, **settings)
    rest.restore(state["model"])
    restore_generators(state["generators"])
    rest.learn(24 * 6)
    for name, tensor in whole.policy.state_dict().items():
        assert torch.equal(rest.policy.state_dict()[name], tensor), name
    assert torch.equal(rest._actor.hidden, whole._actor.hidden)
    for model in (whole, stopped, rest):
        model.env.close()


@pytest.mark.parametrize(
    ("length", "n_steps", "batch_size", "message"),
    [
        (16, 40, None, r"`sequence_length` 16 does not divide the 40.* such as 10"),
        (16, 64, 40, r"`batch_size` 40 must be a multiple of the 16.* such as 32"),
        (16, 64, 8, "such as 16"),
    ],
)
def test_what_is_not_whole_sequences_is_refused(
    length: int, n_steps: int, batch_size: int | None, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        check_sequences(length, n_steps, batch_size)


def test_a_sequence_is_at_most_a_rollout() -> None:
    assert check_sequences(16, 5, None) == 5
    assert check_sequences(16, 64, 32) == 16
