"""The GRU against torch's own, episode by episode; predict, bundles and files of its students."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from Common.errors import UserError
from Models.networks.recurrent import GatedMemory, Past
from Models.student.bundle import load_student, save_student
from Models.student.config import StudentConfig
from Models.student.deployed import Deployed, to_onnx, to_torchscript
from Models.student.policy import StudentPolicy

T, S, INPUTS, UNITS = 9, 3, 4, 5
# Where episodes begin: in stream 0 at steps 3 and 7, in stream 1 at the first step, in 2 nowhere.
STARTS = torch.zeros(T, S, dtype=torch.bool)
STARTS[[3, 7, 0], [0, 0, 1]] = True


def make_memory() -> tuple[GatedMemory, torch.nn.GRU]:
    """The memory in float64, and torch's GRU with its weights."""
    torch.manual_seed(0)
    memory, theirs = GatedMemory(INPUTS, UNITS).double(), torch.nn.GRU(INPUTS, UNITS).double()
    for parameter in memory.parameters():  # biases that matter
        torch.nn.init.normal_(parameter, std=0.5)
    names = {"ih": memory.inputs, "hh": memory.recurrence}
    theirs.load_state_dict(
        {f"weight_{name}_l0": layer.weight for name, layer in names.items()}
        | {f"bias_{name}_l0": layer.bias for name, layer in names.items()}
    )
    return memory, theirs


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_sequences_with_resets_equal_torchs_gru_episode_by_episode() -> None:
    memory, theirs = make_memory()
    x, before = drawn(T, S, INPUTS), drawn(S, UNITS)
    states, last = memory(x.flatten(0, 1), Past(before, STARTS))
    states = states.view(T, S, UNITS)
    for stream in range(S):
        bounds = [0, *(STARTS[1:, stream].nonzero().flatten() + 1).tolist(), T]
        hidden = before[stream] * ~STARTS[0, stream]
        for first, stop in pairwise(bounds):
            expected, _ = theirs(x[first:stop, stream], hidden[None])
            torch.testing.assert_close(states[first:stop, stream], expected)
            hidden = torch.zeros_like(hidden)
    assert torch.equal(last, states[-1])


def test_a_sequence_equals_single_steps() -> None:
    memory, _ = make_memory()
    x, hidden = drawn(T, S, INPUTS), drawn(S, UNITS)
    states, _ = memory(x.flatten(0, 1), Past(hidden, STARTS))
    for t in range(T):
        now, hidden = memory(x[t], Past.of_step(hidden, STARTS[t].numpy()))
        torch.testing.assert_close(states.view(T, S, UNITS)[t], now)
    nowhere = np.zeros(S, bool)
    goes_on = memory(x[0], Past.of_step(hidden, nowhere))[0]
    assert torch.equal(goes_on, memory.step(x[0], hidden))


def test_no_gradient_flows_into_the_episode_before() -> None:
    memory, _ = make_memory()
    x, before = drawn(T, S, INPUTS).requires_grad_(), drawn(S, UNITS).requires_grad_()
    states, _ = memory(x.flatten(0, 1), Past(before, STARTS))
    states.view(T, S, UNITS)[-1].sum().backward()
    assert x.grad is not None and before.grad is not None
    reached = (x.grad != 0).any(-1)  # (T, S)
    expected = torch.ones(T, S, dtype=torch.bool)
    expected[:7, 0] = False  # the last episode of stream 0 begins at step 7
    assert torch.equal(reached, expected)
    assert (before.grad != 0).any(-1).tolist() == [False, False, True]


# -- students -------------------------------------------------------------------------------------


def recurrent_student(**changes: Any) -> StudentPolicy:
    torch.manual_seed(0)
    groups = {
        "frame": spaces.Box(0, 255, (2, 16, 16), np.uint8),
        "proprio": spaces.Box(-np.inf, np.inf, (3,), np.float32),
    }
    settings = {"recurrent": "gru", "recurrent_units": 6, "precision": "float32", **changes}
    config = StudentConfig(family="gaussian", head=(8,), **settings)
    actions = spaces.Box(-2.0, 2.0, (2,), np.float32)
    policy = StudentPolicy(spaces.Dict(groups), actions, lambda _: 1e-3, config=config)
    with torch.no_grad():  # actions that differ visibly
        policy.actor[-1].weight *= 300  # pyright: ignore[reportArgumentType, reportIndexIssue, reportOperatorIssue]
    return policy.eval()


def episode(n: int = 3, steps: int = 7) -> dict[str, np.ndarray]:
    """Observations `(steps, n, ...)`."""
    rng = np.random.default_rng(0)
    return {
        "frame": rng.integers(0, 255, (steps, n, 2, 16, 16), np.uint8),
        "proprio": rng.normal(size=(steps, n, 3)).astype(np.float32),
    }


def at(obs: dict[str, np.ndarray], step: int) -> dict[str, np.ndarray]:
    return {group: array[step] for group, array in obs.items()}


def test_predict_remembers_by_the_state_of_sb3s_interface() -> None:
    policy, obs, begins = recurrent_student(), episode(), np.zeros((7, 3), bool)
    begins[0], begins[4, 1] = True, True
    flat = {g: torch.as_tensor(a).flatten(0, 1) for g, a in obs.items()}
    past = Past(torch.zeros(3, 6), torch.as_tensor(begins))
    expected = policy.distribution(flat, past).mode().view(7, 3, 2).clamp(-2, 2).detach()
    state = None
    for step in range(7):
        start = None if step == 0 else begins[step]
        actions, state = policy.predict(at(obs, step), state, start, deterministic=True)
        np.testing.assert_allclose(actions, expected[step], atol=1e-4)
        assert state is not None and state[0].shape == (3, 6)
    forgetful = policy.predict(at(obs, 6), deterministic=True)[0]
    assert np.abs(forgetful - expected[6].numpy()).max() > 1e-2  # the past matters


def test_a_single_observation_has_a_state_too() -> None:
    policy, obs = recurrent_student(), episode(1)
    batched, state = policy.predict(at(obs, 0), deterministic=True)
    single = {group: array[0] for group, array in at(obs, 0).items()}
    action, alone = policy.predict(single, deterministic=True)
    np.testing.assert_array_equal(action, batched[0])
    second, _ = policy.predict(single, alone, deterministic=True)
    expected, _ = policy.predict(at(obs, 0), state, deterministic=True)
    np.testing.assert_array_equal(second, expected[0])
    assert not np.array_equal(second, action)


def test_a_forward_pass_without_the_past_is_an_error() -> None:
    policy = recurrent_student()
    obs = {g: torch.as_tensor(a) for g, a in at(episode(), 0).items()}
    for ask in (policy.distribution, policy.distribution_and_value, policy.predict_values, policy):
        with pytest.raises(UserError, match="needs the past"):
            ask(obs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "State"}, "mode State"),
        ({"recurrent": "lstm"}, "none or gru"),
        ({"recurrent_units": 0}, "above 0"),
        ({"separate_critic": True, "proprio_features": 0}, "encoder of its own"),
    ],
)
def test_invalid_configurations(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        StudentConfig(**{"recurrent": "gru", **changes})


def test_bundles_keep_the_memory_and_others_do_not_mention_it(tmp_path: Path) -> None:
    assert not {"recurrent", "recurrent_units"} & StudentConfig().as_json().keys()
    policy, obs = recurrent_student(), episode()
    save_student(policy, tmp_path, {"task": "Pusher"})
    loaded, states = load_student(tmp_path), {}
    assert loaded.config == policy.config
    for name, student in (("ours", policy), ("loaded", loaded)):
        state = None
        for step in range(3):
            actions, state = student.predict(at(obs, step), state, deterministic=True)
        states[name] = actions
    np.testing.assert_array_equal(states["ours"], states["loaded"])


# -- files ----------------------------------------------------------------------------------------


def test_onnx_equals_torch_step_by_step_with_resets() -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra 'export'")
    policy, obs = recurrent_student(), episode(steps=9)
    session = onnxruntime.InferenceSession(to_onnx(policy), providers=["CPUExecutionProvider"])
    assert [node.name for node in session.get_inputs()] == ["frame", "proprio", "memory"]
    assert [node.name for node in session.get_outputs()] == ["action", "next_memory"]
    memory, state, begins = np.zeros((3, 6), np.float32), None, np.zeros(3, bool)
    for step in range(9):
        begins[:] = step == 5, False, step in (2, 5)
        memory[begins] = 0.0  # what a robot does when an episode begins
        action, memory = session.run(None, {**at(obs, step), "memory": memory})
        expected, state = policy.predict(at(obs, step), state, begins, deterministic=True)
        np.testing.assert_allclose(action, expected, atol=1e-4)
        assert state is not None
        np.testing.assert_allclose(memory, state[0], atol=1e-4)
    # Another batch size than the one it was traced with.
    one = {group: array[:1] for group, array in at(obs, 0).items()}
    assert session.run(None, {**one, "memory": memory[:1]})[0].shape == (1, 2)


def test_torchscript_equals_torch_to_the_bit() -> None:
    policy, obs = recurrent_student(), episode()
    loaded = torch.jit.load(io.BytesIO(to_torchscript(policy, {})))
    memory, state = torch.zeros(3, 6), None
    assert Deployed(policy).inputs == ("frame", "proprio", "memory")
    for step in range(4):
        inputs = [torch.as_tensor(array) for array in at(obs, step).values()]
        action, memory = loaded(*inputs, memory)
        expected, state = policy.predict(at(obs, step), state, deterministic=True)
        np.testing.assert_array_equal(action.numpy(), expected)
