"""The student's network and its SB3 interface."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Categorical as TorchCategorical

from Common.errors import UserError
from Enviroment.make import make_env
from Models.distributions import SquashedGaussian
from Models.networks.encoders import FILTERS
from Models.networks.impala import ImpalaEncoder
from Models.student.bundle import load_student, save_student
from Models.student.policy import StudentConfig, StudentPolicy
from tests.support.bundle_edits import change_description

FRAMES = "ImpaalaSmall"  # a mode that sees them
GROUPS = spaces.Dict(
    {
        "frame": spaces.Box(0, 255, (4, 24, 32), np.uint8),
        "proprio": spaces.Box(-np.inf, np.inf, (5,), np.float32),
        "state": spaces.Box(-np.inf, np.inf, (9,), np.float32),
    }
)
ACTIONS = spaces.Box(np.array([-2, -1, 0], np.float32), np.array([2, 1, 4], np.float32))
SPACE_OF_FAMILY: dict[str, spaces.Space] = {
    "gaussian": ACTIONS,
    "squashed_gaussian": ACTIONS,
    "categorical": spaces.Discrete(5),
    "multi_categorical": spaces.MultiDiscrete([2, 4, 3]),
    "bernoulli": spaces.MultiBinary(3),
}


def make_student(actions: spaces.Space = ACTIONS, **config: object) -> StudentPolicy:
    torch.manual_seed(0)
    settings = StudentConfig(**{"precision": "float32", "family": "squashed_gaussian", **config})  # pyright: ignore[reportArgumentType]
    return StudentPolicy(GROUPS, actions, lambda _: 1e-3, config=settings)


def of_family(family: str, **config: object) -> StudentPolicy:
    """With weights far from those at the start, where every action is about as likely."""
    student = make_student(SPACE_OF_FAMILY[family], family=family, **config)
    with torch.no_grad():
        for parameter in student.actor.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return student


def some_obs(n: int = 6) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "frame": rng.integers(0, 256, (n, 4, 24, 32), np.uint8),
        "proprio": rng.normal(size=(n, 5)).astype(np.float32),
        "state": rng.normal(size=(n, 9)).astype(np.float32),
    }


def tensors(obs: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {group: torch.as_tensor(array) for group, array in obs.items()}


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        # A sequence: conv 9 i o + o, and four convs of 9 o o + o in its two residual blocks.
        ("ImpaalaSmall", (9 * 4 * 16 + 16 + 4 * (9 * 256 + 16)) + (9 * 512 + 32 + 4 * 9248)),
        ("ImpaalaBig", (36 * 32 + 32 + 4 * 9248) + (288 * 64 + 64 + 8 * 36928 + 576 * 64 + 64)),
    ],
)
def test_encoder_has_impalas_parameters(mode: str, expected: int) -> None:
    encoder = ImpalaEncoder(4, FILTERS[mode], pooling=3, precision="float32")
    assert sum(p.numel() for p in encoder.parameters()) == expected


def test_encoder_equals_the_layers_written_out() -> None:
    torch.manual_seed(0)
    encoder = ImpalaEncoder(4, (16, 32), pooling=3, precision="float32").double()
    weights = encoder.state_dict()
    frames = torch.randint(0, 256, (2, 4, 24, 32), dtype=torch.uint8)

    def conv(x: torch.Tensor, name: str) -> torch.Tensor:
        return torch.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1)

    x = frames.double() / 255
    for s in range(2):
        x = conv(x, f"sequences.{s}.0")
        x = torch.max_pool2d(x, 3, 2, 1)
        for block in (2, 3):
            name = f"sequences.{s}.{block}"
            x = x + conv(torch.relu(conv(torch.relu(x), f"{name}.conv1")), f"{name}.conv2")
    # (2, 32, 6, 8): rows in bins of 2; columns 0-2, 2-5, 5-7, as adaptive pooling has them.
    x = torch.relu(x)
    columns = [x[..., 0:3], x[..., 2:6], x[..., 5:8]]
    pooled = [[c[:, :, 2 * r : 2 * r + 2].mean((2, 3)) for c in columns] for r in range(3)]
    expected = torch.stack([torch.stack(row, -1) for row in pooled], -2).flatten(1)
    ours = encoder.sequences(frames.double() / 255)
    ours = torch.nn.functional.adaptive_avg_pool2d(torch.relu(ours), 3).flatten(1)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(encoder.float()(frames), expected.float(), rtol=1e-4, atol=1e-5)


def test_features_do_not_depend_on_the_frames_size() -> None:
    encoder = ImpalaEncoder(4, (16, 32), pooling=3, precision="float32")
    for size in ((64, 128), (64, 64), (17, 33)):
        assert encoder(torch.zeros(1, 4, *size, dtype=torch.uint8)).shape == (1, 288)


@pytest.mark.usefixtures("bfloat16")
def test_bfloat16_is_close_and_gives_float32() -> None:
    torch.manual_seed(0)
    exact = ImpalaEncoder(4, (16, 32), pooling=3, precision="float32")
    coarse = ImpalaEncoder(4, (16, 32), pooling=3, precision="bfloat16")
    coarse.load_state_dict(exact.state_dict())
    frames = torch.randint(0, 256, (3, 4, 32, 32), dtype=torch.uint8)
    assert coarse(frames).dtype == torch.float32
    torch.testing.assert_close(coarse(frames), exact(frames), rtol=0.05, atol=0.02)


@pytest.mark.parametrize("mode", ["State", "ImpaalaSmall", "ImpaalaMid", "ImpaalaBig"])
def test_predict_scales_the_mode_to_the_bounds(mode: str) -> None:
    student, obs = make_student(mode=mode), some_obs()
    actions, _ = student.predict(obs, deterministic=True)
    with torch.no_grad():
        mean = student.distribution(tensors(obs)).mode().numpy()
    expected = ACTIONS.low + (np.tanh(mean) + 1) / 2 * (ACTIONS.high - ACTIONS.low)
    np.testing.assert_allclose(actions, expected, rtol=1e-5, atol=1e-5)


def test_the_student_does_not_read_the_state() -> None:
    student, obs = make_student(), some_obs()
    before, _ = student.predict(obs, deterministic=True)
    del obs["state"]
    after, _ = student.predict(obs, deterministic=True)
    np.testing.assert_array_equal(before, after)


def test_frames_and_proprio_both_matter() -> None:
    student, obs = make_student(), some_obs()
    before, _ = student.predict(obs, deterministic=True)
    for group in ("frame", "proprio"):
        changed = {**obs, group: obs[group][::-1].copy()}
        after, _ = student.predict(changed, deterministic=True)
        assert not np.allclose(before, after)


def test_only_the_critic_reads_the_state() -> None:
    student, obs = make_student(critic_on_state=True), tensors(some_obs())
    other = {**obs, "state": obs["state"] + 1}
    with torch.no_grad():
        (dist, values), (dist2, values2) = map(student.distribution_and_value, (obs, other))
    torch.testing.assert_close(dist.mode(), dist2.mode(), rtol=0, atol=0)
    assert not torch.allclose(values, values2)
    actions, _ = student.predict({k: v for k, v in some_obs().items() if k != "state"})
    assert actions.shape == (6, 3)


def test_group_statistics_normalise() -> None:
    config = StudentConfig(mode="State", family="gaussian")
    student = StudentPolicy(
        GROUPS,
        ACTIONS,
        lambda _: 1e-3,
        config=config,
        group_mean={"state": [2.0] * 9},
        group_std={"state": [4.0] * 9},
    )
    features = student.features({"state": torch.tensor([[10.0, 1000.0] + [2.0] * 7])})
    # (10 - 2) / 4 = 2; far values are clipped at 10 deviations.
    assert features[0, :3].tolist() == [2.0, 10.0, 0.0]


@pytest.mark.parametrize("mode", ["State", FRAMES])
@pytest.mark.parametrize(
    ("family", "choices"),
    [("categorical", (5,)), ("multi_categorical", (2, 4, 3)), ("bernoulli", (2, 2, 2))],
)
def test_discrete_actors_output_is_split_as_torchs_distributions_have_it(
    family: str, choices: tuple[int, ...], mode: str
) -> None:
    """The log-probability of every action there is, from the actor's output by torch's classes."""
    obs, student = tensors(some_obs()), of_family(family, mode=mode)
    with torch.no_grad():
        flat, dist = student.actor(student.features(obs)), student.distribution(obs)
    if family == "bernoulli":
        theirs = [TorchBernoulli(logits=logit) for logit in flat.unbind(-1)]
    else:
        theirs = [TorchCategorical(logits=part) for part in flat.split(choices, -1)]
    for action in np.ndindex(*choices):
        parts = [torch.full((6,), value) for value in action]
        pairs = zip(theirs, parts, strict=True)
        expected = torch.stack([d.log_prob(part.float()) for d, part in pairs]).sum(0)
        raw = parts[0] if family == "categorical" else torch.stack(parts, -1)
        torch.testing.assert_close(dist.log_prob(raw), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mode", ["State", FRAMES])
@pytest.mark.parametrize("family", SPACE_OF_FAMILY)
def test_predicted_actions_are_in_the_space(family: str, mode: str) -> None:
    student, obs, space = of_family(family, mode=mode), some_obs(), SPACE_OF_FAMILY[family]
    for deterministic in (True, False):
        actions, _ = student.predict(obs, deterministic=deterministic)
        assert actions.shape == (6, *(space.shape or ()))
        assert all(space.contains(action) for action in actions)


@pytest.mark.parametrize("family", SPACE_OF_FAMILY)
def test_sb3s_interface_gives_the_same_log_probabilities(family: str) -> None:
    """`forward` acts, `evaluate_actions` reads its actions back, as in SB3's PPO."""
    student, obs = of_family(family, mode="State"), tensors(some_obs())
    with torch.no_grad():
        actions, values, log_prob = student(obs)
        values2, log_prob2, entropy = student.evaluate_actions(obs, actions)
    torch.testing.assert_close(log_prob2, log_prob, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(values2, values)
    assert values.shape == (6, 1) and log_prob.shape == entropy.shape == (6,)


@pytest.mark.parametrize(
    ("family", "config"),
    [
        ("squashed_gaussian", {"critic_on_state": True}),
        *((family, {"mode": mode}) for family in SPACE_OF_FAMILY for mode in ("State", FRAMES)),
    ],
)
def test_bundle_gives_the_same_actions(
    tmp_path: Path, family: str, config: dict[str, object]
) -> None:
    student, obs = of_family(family, **config), some_obs()
    save_student(student, tmp_path, {"task": "none"})
    loaded = load_student(tmp_path)
    assert loaded.action_space == student.action_space
    for deterministic in (True, False):
        torch.manual_seed(3)
        expected, _ = student.predict(obs, deterministic=deterministic)
        torch.manual_seed(3)
        actions, _ = loaded.predict(obs, deterministic=deterministic)
        np.testing.assert_array_equal(actions, expected)


def test_sb3_save_and_load(tmp_path: Path) -> None:
    student, obs = make_student(), some_obs()
    student.save(str(tmp_path / "policy.pth"))
    loaded = StudentPolicy.load(str(tmp_path / "policy.pth"))
    np.testing.assert_array_equal(
        loaded.predict(obs, deterministic=True)[0], student.predict(obs, deterministic=True)[0]
    )


def test_damaged_description_is_refused(tmp_path: Path) -> None:
    save_student(make_student(), tmp_path, {"task": "none"})
    path = tmp_path / "student.json"
    change_description(path, lambda description: description["config"].update(mode="ImpaalaMid"))
    with pytest.raises(UserError, match=r"student\.json is not a valid student"):
        load_student(tmp_path)


@pytest.mark.parametrize(
    ("part", "key", "value", "message"),
    [
        ("config", "head", [2**16, 2**16], r"expected torch\S+ .*65536"),  # 17 GB
        ("config", "head", [10**30], "not a valid student"),
        ("config", "head", "128", "not a valid student"),
        ("config", "head", [8] * 65, "65 layers are more than"),
        ("config", "head", [2**17], "up to 65536"),
        ("config", "pooling", 257, "must be 1 to 256"),
        ("config", "proprio_features", 2**16, r"expected torch\S+ .*65824"),
        ("config", "pooling", 256, r"expected torch\S+ .*2097216"),
        ("config", "filters", [16], "filters"),
        ("observations", "frame", [4, 10**6, 10**6], "'frame' has the shape"),
        ("observations", "frame", [4, 0, 24], "'frame' has the shape"),
        ("observations", "proprio", [10**12], "'proprio' has the shape"),
        ("observations", "proprio", [6], r"expected torch\S+ .*\(6,\)"),
        ("actions", "low", [0.0], "bounds of the actions"),
    ],
)
def test_false_sizes_in_a_description_allocate_nothing(
    tmp_path: Path, part: str, key: str, value: Any, message: str
) -> None:
    """They are compared with the weights' before any network of theirs is made."""
    save_student(make_student(), tmp_path, {"task": "none"})
    path = tmp_path / "student.json"
    change_description(path, lambda description: description[part].update({key: value}))
    with pytest.raises(UserError, match=message) as caught:
        load_student(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_bundle_of_actions_that_are_not_its_familys_is_refused(tmp_path: Path) -> None:
    save_student(of_family("bernoulli", mode="State"), tmp_path, {"task": "none"})
    path = tmp_path / "student.json"
    change_description(path, lambda description: description.update(actions={"n": 3}))
    with pytest.raises(UserError, match=r"student\.json is not a valid student.*bernoulli student"):
        load_student(tmp_path)


@pytest.mark.parametrize(
    ("family", "space", "message"),
    [
        ("gaussian", spaces.Discrete(3), r"cannot act in Discrete\(3\).*can be: categorical"),
        ("categorical", ACTIONS, "can be: gaussian or squashed_gaussian"),
        ("categorical", spaces.MultiDiscrete([2, 3]), "can be: multi_categorical"),
        ("bernoulli", spaces.Text(4), "can be: none"),
        ("categorical", spaces.Discrete(3, start=1), "count from 0"),
        ("multi_categorical", spaces.MultiDiscrete([2, 3], start=[0, 1]), "count from 0"),
        ("multi_categorical", spaces.MultiDiscrete(np.array([[2, 3], [4, 5]])), "flat list"),
        ("bernoulli", spaces.MultiBinary([2, 3]), "flat list"),
    ],
)
def test_actions_that_the_family_has_not(family: str, space: spaces.Space, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_student(space, family=family)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"mode": "Impala"}, "Unknown mode 'Impala'"),
        ({"family": "beta"}, "cannot be 'beta'"),
        ({"pooling": 0}, "`pooling` 0"),
        ({"precision": "float16"}, "`precision`"),
        (
            {
                "mode": "m:Encoder",
                "backbone_sha256": "a" * 64,
                "proprio_features": 0,
                "separate_critic": True,
            },
            "would not get the weights of `backbone`",
        ),
        ({"init_log_std": 2.5}, "`init_log_std` 2.5 must be -5 to 2"),
        ({"init_log_std": -6.0}, "`init_log_std` -6 must be -5 to 2"),
        ({"init_log_std": float("nan")}, "`init_log_std` nan must be -5 to 2"),
    ],
)
def test_bad_configuration(config: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_student(**config)


@pytest.mark.parametrize("init_log_std", [-5.0, 2.0])
def test_the_widest_and_the_narrowest_start_can_still_be_learned(init_log_std: float) -> None:
    """Log stds are clipped. Beyond the ends of that range they would have no gradient."""
    student = make_student(std_by_state=False, init_log_std=init_log_std)
    dist = student.distribution(tensors(some_obs()))
    assert isinstance(dist, SquashedGaussian)
    dist.log_std.sum().backward()
    gradient = student.log_std.grad
    assert gradient is not None
    assert (gradient == 6).all()  # one per sample


def test_missing_group_is_named() -> None:
    space = spaces.Dict({"proprio": GROUPS["proprio"]})
    with pytest.raises(UserError, match="no observation group frame"):
        StudentPolicy(space, ACTIONS, lambda _: 1e-3)


def test_sb3s_ppo_and_evaluate_policy_take_it() -> None:
    env = make_env("Reacher", 2, seed=0, blind=True)
    config = StudentConfig(family="gaussian", precision="float32")
    ppo = PPO(
        StudentPolicy, env, n_steps=8, batch_size=8, n_epochs=1, policy_kwargs={"config": config}
    )
    before = [p.clone() for p in ppo.policy.parameters()]
    ppo.learn(16)
    changed = [not torch.equal(a, b) for a, b in zip(before, ppo.policy.parameters(), strict=True)]
    assert all(changed[-4:])
    mean, _ = evaluate_policy(ppo, env, n_eval_episodes=2)
    assert np.isfinite(mean)
    env.close()
