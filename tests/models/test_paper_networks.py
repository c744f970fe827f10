"""The networks of the papers: layers, numbers of parameters, and SB3's networks beside them."""

from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy, MultiInputActorCriticPolicy

from Common.errors import UserError
from Models.networks.cnn import ImpalaCNN
from Models.networks.impala_extractor import ImpalaExtractor
from Models.networks.paper import SIZES, paper_student
from Models.student.bundle import load_student, save_student
from Models.student.policy import StudentConfig, StudentPolicy

# Observations and actions of the environments of the papers' table, in version 4.
MUJOCO = {"Ant": (27, 8), "HalfCheetah": (17, 6), "Hopper": (11, 3), "Humanoid": (376, 17)}
# Actions of the 11 games: Atlantis, BeamRider, CrazyClimber, DemonAttack, Enduro, Freeway,
# MsPacman, Pong, Qbert, Seaquest, Zaxxon.
ATARI = (4, 9, 9, 6, 9, 3, 9, 6, 6, 18, 18)
TABLE_4 = {  # the mean over a suite's environments
    "mujoco": (22.7e3, 95.8e3, 322.7e3),
    "atari": (279.3e3, 1.1e6, 8.3e6),
    "procgen": (142.5e3, 626e3, 4.6e6),
}


def state_space(n: int) -> spaces.Dict:
    return spaces.Dict({"state": spaces.Box(-np.inf, np.inf, (n,), np.float32)})


def frame_space(*shape: int) -> spaces.Dict:
    return spaces.Dict({"frame": spaces.Box(0, 255, shape, np.uint8)})


def box(n: int) -> spaces.Box:
    return spaces.Box(-1, 1, (n,), np.float32)


def make(
    suite: str,
    size: str,
    obs: spaces.Dict,
    actions: spaces.Space,
    device: str = "cpu",
    precision: str = "float32",
) -> StudentPolicy:
    family = "gaussian" if isinstance(actions, spaces.Box) else "categorical"
    config = replace(paper_student(suite, size, family), precision=precision)
    torch.manual_seed(0)
    with torch.device(device):
        return StudentPolicy(obs, actions, lambda _: 1e-3, config=config)


def n_parameters(student: StudentPolicy, of_critic: bool) -> int:
    named = student.named_parameters()
    return sum(p.numel() for name, p in named if name.startswith("critic") == of_critic)


def mean_count(
    suite: str, size: str, environments: list[tuple[spaces.Dict, spaces.Space]]
) -> float:
    """Parameters of the policy network; on the meta device, where they take no memory."""
    return statistics.mean(
        n_parameters(make(suite, size, obs, actions, "meta"), of_critic=False)
        for obs, actions in environments
    )


def environments_of(suite: str) -> list[tuple[spaces.Dict, spaces.Space]]:
    if suite == "mujoco":
        return [(state_space(n), box(a)) for n, a in MUJOCO.values()]
    if suite == "atari":
        return [(frame_space(4, 84, 84), spaces.Discrete(n)) for n in ATARI]
    return [(frame_space(3, 64, 64), spaces.Discrete(15))]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("suite", TABLE_4)
def test_policy_networks_have_the_papers_numbers_of_parameters(suite: str, size: str) -> None:
    count, expected = (
        mean_count(suite, size, environments_of(suite)),
        TABLE_4[suite][SIZES.index(size)],
    )
    assert count == pytest.approx(expected, rel=0.02)
    # And closer: the table's own numbers, which it rounds to 0.1k or 0.1M.
    assert count == pytest.approx(expected, abs=1e2 if expected < 1e6 else 5e4)


def test_with_version_5_the_first_layer_is_larger() -> None:
    """The docstring's numbers: 120.25 inputs on average instead of 107.75, 12.5 weights a unit."""
    v5 = {**MUJOCO, "Ant": (105, 8), "Humanoid": (348, 17)}
    environments: list[Any] = [(state_space(n), box(a)) for n, a in v5.values()]
    for size, units, expected in zip(SIZES, (128, 256, 512), TABLE_4["mujoco"], strict=True):
        count = mean_count("mujoco", size, environments)
        assert count == pytest.approx(expected + 12.5 * units, abs=100)


@pytest.mark.parametrize(
    ("size", "actor", "critic"),
    [
        # Layers i * o + o of 11 observations and 3 actions, and 3 standard deviations.
        ("smaller", 1536 + 16512 + 387 + 3, 768 + 4160 + 65),
        ("same", 3072 + 65792 + 771 + 3, 3072 + 65792 + 257),
        ("larger", 6144 + 262656 + 1539 + 3, 6144 + 262656 + 513),
    ],
)
def test_the_hopper_study_has_its_own_actor_and_critic(size: str, actor: int, critic: int) -> None:
    student = make("hopper", size, state_space(11), box(3))
    assert n_parameters(student, of_critic=False) == actor
    assert n_parameters(student, of_critic=True) == critic


# -- against SB3 ------------------------------------------------------------------------------


def sb3_policy(obs: spaces.Dict, actions: spaces.Space, network: dict[str, Any]) -> Any:
    """With biases other than 0, and a last layer whose outputs differ."""
    is_state = "state" in obs.spaces
    cls: Any = ActorCriticPolicy if is_state else MultiInputActorCriticPolicy
    policy = cls(obs["state"] if is_state else obs, actions, lambda _: 1e-3, **network)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += 0.03 * torch.randn_like(parameter)
    return policy


def give_weights(policy: Any, student: StudentPolicy) -> None:
    """SB3's to the student's, in the order of the layers."""
    for theirs, ours in (
        (("pi_features_extractor.", "mlp_extractor.policy_net.", "action_net."), "encoder actor"),
        (("vf_features_extractor.", "mlp_extractor.value_net.", "value_net."), "critic"),
    ):
        weights = [
            w for part in theirs for name, w in policy.state_dict().items() if name.startswith(part)
        ]
        own = {n: p for n, p in student.named_parameters() if n.startswith(tuple(ours.split()))}
        # The encoder comes before the head.
        ordered = sorted(own, key=lambda name: "encoder" not in name.split(".")[0])
        for name, weight in zip(ordered, weights, strict=True):
            assert own[name].shape == weight.shape
            own[name].data.copy_(weight)
    if isinstance(student.action_space, spaces.Box):
        student.log_std.data.copy_(policy.log_std)


RELU = {"activation_fn": torch.nn.ReLU}  # separate networks, as SB3 has them without images
NO_LAYERS = {"net_arch": [], "share_features_extractor": False}
IMPALA = {**NO_LAYERS, "features_extractor_class": ImpalaExtractor}
LARGER = {"features_extractor_kwargs": {"filters": (32, 64, 64), "features_dim": 1024}}
CASES = {
    "mujoco same": {"net_arch": [256, 256], **RELU},
    "mujoco smaller": {"net_arch": [128, 64], **RELU},
    "hopper smaller": {"net_arch": {"pi": [128, 128], "vf": [64, 64]}, **RELU},
    # SB3's own CNN, in its extractor of dictionaries.
    "atari smaller": {**NO_LAYERS, "features_extractor_kwargs": {"cnn_output_dim": 64}},
    "atari same": IMPALA,  # the teachers' network
    "procgen larger": {**IMPALA, **LARGER},
}


@pytest.mark.parametrize("case", CASES)
def test_students_compute_what_sb3s_networks_do(case: str) -> None:
    suite, size = case.split()
    torch.manual_seed(2)
    if suite in ("atari", "procgen"):
        shape = (4, 44, 61) if suite == "atari" else (3, 18, 27)
        space, actions = frame_space(*shape), spaces.Discrete(7)
        frames = torch.randint(0, 256, (3, *shape), dtype=torch.uint8)
        obs: dict[str, torch.Tensor] = {"frame": frames}
    else:
        space, actions = state_space(11), box(3)
        obs = {"state": torch.randn(5, 11)}
    policy, student = sb3_policy(space, actions, CASES[case]), make(suite, size, space, actions)
    give_weights(policy, student)
    seen: Any = obs.get("state", obs)
    with torch.no_grad():
        dist, values = student.distribution_and_value(obs)
        theirs = policy.get_distribution(seen).distribution
        expected = policy.predict_values(seen)
        if suite in ("atari", "procgen"):
            log_p = dist.params()["logits"].log_softmax(-1)
            assert log_p.std(0).max() > 1e-3  # the frames matter
            torch.testing.assert_close(log_p, theirs.logits, rtol=1e-4, atol=1e-4)
        else:
            torch.testing.assert_close(dist.mode(), theirs.mean)
            torch.testing.assert_close(dist.params()["log_std"].exp(), theirs.stddev)
        torch.testing.assert_close(values, expected.squeeze(-1), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(student.predict_values(obs), expected, rtol=1e-4, atol=1e-4)


def test_the_impala_cnn_is_the_layers_written_out() -> None:
    """Of odd sides, which the pools round up: 21 x 30 -> 11 x 15 -> 6 x 8 -> 3 x 4."""
    torch.manual_seed(0)
    network = ImpalaCNN((3, 21, 30), (4, 6, 5), 7).double()
    weights, images = network.state_dict(), torch.rand(2, 3, 21, 30, dtype=torch.float64)

    def conv(x: torch.Tensor, name: str) -> torch.Tensor:
        return torch.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1)

    x = images
    for s in ("sequences.0", "sequences.1", "sequences.2"):
        x = torch.max_pool2d(conv(x, f"{s}.0"), 3, 2, 1)
        for block in (f"{s}.2", f"{s}.3"):
            x = x + conv(torch.relu(conv(torch.relu(x), f"{block}.conv1")), f"{block}.conv2")
    flat = torch.relu(x).reshape(2, 5 * 3 * 4)  # channels, rows, columns
    expected = torch.relu(flat @ weights["linear.0.weight"].T + weights["linear.0.bias"])
    assert expected.count_nonzero() > 3
    torch.testing.assert_close(network(images), expected)


def test_weights_begin_as_sb3s() -> None:
    """Orthogonal: W W^T is 2 in the hidden layers and kernels, 0.0001 in the actor's last one."""
    student = make("procgen", "smaller", frame_space(3, 64, 64), spaces.Discrete(15))
    for name, gain2 in (
        *(("encoder.network.cnn.2.weight", 2.0), ("critic_encoder.network.linear.0.weight", 2.0)),
        *(("actor.0.weight", 1e-4), ("critic.0.weight", 1.0)),
    ):
        weight = student.state_dict()[name].flatten(1)
        product = weight @ weight.T
        torch.testing.assert_close(product, gain2 * torch.eye(len(weight)), rtol=1e-4, atol=1e-5)
    gaussian = make("mujoco", "same", state_space(11), box(3))
    assert gaussian.log_std.tolist() == [0.0, 0.0, 0.0]


# -- what a student of frames alone is ----------------------------------------------------------


def frames_student(size: str = "smaller", precision: str = "float32") -> StudentPolicy:
    space = frame_space(4, 40, 52)
    return make("atari", size, space, spaces.Discrete(6), precision=precision)


def some_frames(n: int = 5) -> dict[str, np.ndarray]:
    return {"frame": np.random.default_rng(0).integers(0, 256, (n, 4, 40, 52), np.uint8)}


@pytest.mark.usefixtures("bfloat16")
@pytest.mark.parametrize("size", ["smaller", "same"])
def test_bfloat16_is_close(size: str) -> None:
    exact, coarse = frames_student(size), frames_student(size, "bfloat16")
    coarse.load_state_dict(exact.state_dict())
    frames = torch.as_tensor(some_frames()["frame"])
    features, expected = coarse.encoder(frames), exact.encoder(frames)
    assert features.dtype == torch.float32
    assert 0 < (features - expected).norm() / expected.norm() < 0.02


def test_the_critics_encoder_is_its_own() -> None:
    student = frames_student()
    obs = {"frame": torch.as_tensor(some_frames()["frame"])}
    dist, values = student.distribution_and_value(obs)
    values.sum().backward()
    assert with_gradient(student) == {"critic", "critic_encoder"}
    student.zero_grad()
    dist.entropy().sum().backward()
    assert with_gradient(student) == {"actor", "encoder"}


def with_gradient(student: StudentPolicy) -> set[str]:
    named = student.named_parameters()
    return {name.split(".")[0] for name, p in named if p.grad is not None}


@pytest.mark.parametrize(
    ("suite", "size"), [("atari", "smaller"), ("procgen", "same"), ("hopper", "smaller")]
)
def test_a_bundle_gives_the_same_actions(suite: str, size: str, tmp_path: Path) -> None:
    if suite == "hopper":
        student, obs = make(suite, size, state_space(11), box(3)), np.random.default_rng(0)
        arrays = {"state": obs.normal(size=(5, 11)).astype(np.float32)}
    else:
        student, arrays = frames_student(size), some_frames()
    save_student(student, tmp_path, {"task": "none"})
    generator = torch.get_rng_state()
    loaded = load_student(tmp_path)
    assert torch.equal(torch.get_rng_state(), generator)  # nothing was drawn
    assert loaded.config == student.config
    for deterministic in (True, False):
        torch.manual_seed(3)
        expected, _ = student.predict(arrays, deterministic=deterministic)
        torch.manual_seed(3)
        actions, _ = loaded.predict(arrays, deterministic=deterministic)
        np.testing.assert_array_equal(actions, expected)
    # It can be trained further, and as fast: kernels are channels-last, and its optimizer's own.
    kernels = [p for p in loaded.parameters() if p.dim() == 4]
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in kernels)
    parameters = {id(p) for p in loaded.parameters()}
    assert {id(p) for p in loaded.optimizer.param_groups[0]["params"]} == parameters
    assert all(p.requires_grad for p in loaded.parameters())


def test_a_bundle_says_what_older_versions_know_and_no_more(tmp_path: Path) -> None:
    assert set(StudentConfig().as_json()) == {
        *("mode", "family", "pooling", "proprio_features", "head", "critic_on_state"),
        *("init_log_std", "precision"),
    }
    config = paper_student("hopper", "smaller", "gaussian")
    assert StudentConfig.from_json(config.as_json()) == config


# -- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suite", "size", "message"),
    [
        ("", "same", "mujoco, hopper, atari, procgen; this task is in none"),
        ("dm_control", "same", "this task is in 'dm_control'"),
        ("atari", "big", "'big' is not one of smaller, same, larger"),
    ],
)
def test_unknown_suites_and_sizes_are_refused(suite: str, size: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        paper_student(suite, size, "gaussian")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"mode": "NatureCNN"}, "needs fully_connected units"),
        ({"activation": "Swish"}, "'Swish' is not one of"),
        ({"head": (0,)}, "cannot have"),
        ({"critic_head": (8, -1)}, "cannot have"),
        ({"fully_connected": -1}, "cannot have"),
        ({"separate_critic": True}, "of frames only"),
        ({"separate_critic": True, "mode": "State"}, "of frames only"),
        (
            {"separate_critic": True, "proprio_features": 0, "critic_on_state": True},
            "without critic_on_state",
        ),
    ],
)
def test_bad_configuration(config: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        StudentConfig(**config)


def test_frames_that_are_too_small_are_refused() -> None:
    with pytest.raises(UserError, match="30x84 pixels are too small"):
        make("atari", "smaller", frame_space(4, 30, 84), spaces.Discrete(3))


def test_an_impala_extractor_sees_one_image() -> None:
    image, vector = frame_space(3, 20, 20)["frame"], box(3)
    for space in (vector, spaces.Dict({"a": image, "b": vector})):
        with pytest.raises(UserError, match="needs images"):
            ImpalaExtractor(space)
