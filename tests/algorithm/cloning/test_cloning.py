"""Behavioural cloning against a plain PyTorch loop, and its own promises."""

from __future__ import annotations

import copy
import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from Algorithm.augmentation import Augmenter
from Algorithm.augmentation_config import AugmentationConfig
from Algorithm.cloning.bc import BehaviouralCloning
from Algorithm.cloning.config import CloningConfig, Decay
from Algorithm.cloning.replay import PrioritisedReplay, ReplayConfig
from Algorithm.cloning.samples.data import BatchReader, split_episodes
from Common.errors import UserError
from Models.distributions import DiagGaussian
from Models.student.bundle import load_student
from Models.student.policy import StudentPolicy
from tests.support.cloning_data import MemoryData, Recorder, student

SMALL: dict[str, Any] = {
    "gradient_steps": 30,
    "batch_size": 16,
    "held_out": 0.1,
    "validate_every": 10,
    "log_every": 1,
}
SHIFT = AugmentationConfig(random_shift=2, modality_dropout=0.3)
PER = ReplayConfig(alpha=0.6, mode_alpha="linear", anneal_every=4)


def cloning(
    policy: StudentPolicy | None = None,
    data: MemoryData | None = None,
    replay: ReplayConfig | None = None,
    augmentation: AugmentationConfig | None = None,
    **config: Any,
) -> tuple[BehaviouralCloning, Recorder]:
    recorder = Recorder()
    settings = CloningConfig(**{**SMALL, **config})
    data = data or MemoryData()
    model = BehaviouralCloning(policy or student(), data, settings, replay, 3, augmentation)
    model.set_logger(Logger(None, [recorder]))
    return model, recorder


def weights_of(policy: StudentPolicy) -> dict[str, torch.Tensor]:
    return copy.deepcopy(policy.state_dict())


def assert_same_weights(ours: StudentPolicy, theirs: StudentPolicy) -> None:
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], tensor), name


class Stop(BaseCallback):
    """Ends the training after so many steps, and may save the model before one of them."""

    def __init__(self, at: int, folder: Path | None = None) -> None:
        super().__init__()
        self.at, self.folder = at, folder
        self.before: list[int] = []

    def _on_rollout_start(self) -> None:
        self.before.append(self.model.num_timesteps)
        if self.folder is not None and self.model.num_timesteps == self.at:
            self.model.save(self.folder)

    def _on_step(self) -> bool:
        return self.folder is not None or self.num_timesteps < self.at


# -- learning -------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "loss_type"), [("State", "NLL"), ("ImpaalaSmall", "KL")])
def test_the_curve_is_that_of_a_plain_loop(mode: str, loss_type: str) -> None:
    # The loop as anyone would write it: torch's own AdamW, scheduler and distributions.
    data, plain = MemoryData(), student(mode)
    steps = 30 if mode == "State" else 6
    training = np.flatnonzero(data.episodes >= 2)  # 10% of 20 episodes validate
    batches = PrioritisedReplay(len(training), ReplayConfig(), seed=3)
    batches.add(len(training), new=False)
    optimizer = torch.optim.AdamW(plain.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    expected = []
    for _ in range(steps):
        rows = training[batches.draw(16).indices]
        columns = {name: torch.from_numpy(array[rows]) for name, array in data.columns.items()}
        ours = plain.distribution(columns)
        assert isinstance(ours, DiagGaussian)
        mean, log_std = columns["distribution.mean"], columns["distribution.log_std"]
        normal = torch.distributions.Normal(ours.mean, ours.log_std.exp())
        if loss_type == "KL":
            target = torch.distributions.Normal(mean, log_std.exp())
            loss = torch.distributions.kl_divergence(target, normal).sum(-1).mean()
        else:
            slope = (1 - mean.double().tanh() ** 2).log().float()
            loss = -(normal.log_prob(mean) - slope).sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        expected.append(loss.item())
    model, recorder = cloning(student(mode), data, loss_type=loss_type, gradient_steps=steps)
    model.learn()
    np.testing.assert_allclose(recorder.curve("train/loss"), expected, rtol=1e-5)


@pytest.mark.parametrize("loss_type", ["NLL", "BetaNLL", "KL", "MSE"])
@pytest.mark.parametrize("replay", [None, PER])
def test_validation_loss_falls(loss_type: str, replay: ReplayConfig | None) -> None:
    data = MemoryData(60)
    model, recorder = cloning(data=data, replay=replay, loss_type=loss_type, gradient_steps=200)
    before = model.validate()
    model.learn()
    after = model.validate()
    assert after["mse"] < 0.3 * before["mse"]
    assert after["loss"] < before["loss"]
    assert after["loss"] == recorder.curve("val/loss")[-1]
    if loss_type != "BetaNLL":  # which has no figure besides the loss
        assert after["loss"] == pytest.approx(after[loss_type.lower()])
    assert after["action_accuracy"] == pytest.approx(1 - after["mse"], abs=1e-6)  # both squashed


def test_discrete_actions_are_cloned() -> None:
    data = MemoryData(60, "categorical")
    model, _ = cloning(student(family="categorical"), data, gradient_steps=200)
    before = model.validate()["action_accuracy"]
    model.learn()
    assert model.validate()["action_accuracy"] > max(before, 0.85)


def test_the_critic_is_left_alone() -> None:
    model, _ = cloning()
    before = weights_of(model.policy)
    model.learn()
    changed = {k for k, v in model.policy.state_dict().items() if not torch.equal(before[k], v)}
    assert changed
    assert all(name.startswith("actor") for name in changed)


def test_importance_weights_enter_the_loss() -> None:
    # One batch by hand: mean of w times NLL, at the weights that the same replay draws.
    model, recorder = cloning(replay=PER, gradient_steps=1, loss_type="NLL")
    training, _ = split_episodes(MemoryData(), 0.1, 3)
    twin = PrioritisedReplay(len(training), PER, 3)
    twin.add(len(training), new=False)
    for replay in (model.replay, twin):
        replay.update(np.arange(180), np.linspace(0.1, 5, 180))
        replay.anneal(0.0)
    draw = twin.draw(16)
    assert draw.weights is not None
    reader = BatchReader(training, ("state",), torch.device("cpu"))
    batch = reader(draw.indices)
    nll = -model.policy.distribution(batch.obs).log_prob(batch.teacher.mode()).detach().numpy()
    model.learn()
    assert recorder.curve("train/loss")[0] == pytest.approx((draw.weights * nll).mean(), rel=1e-5)
    assert recorder.curve("train/nll")[0] == pytest.approx(nll.mean(), rel=1e-5)


def test_training_batches_are_augmented_and_nothing_else() -> None:
    # One batch by hand, augmented by the same draws.
    policy = student("ImpaalaSmall")
    model, recorder = cloning(policy, augmentation=SHIFT, gradient_steps=1, loss_type="NLL")
    plain, _ = cloning(student("ImpaalaSmall"), loss_type="NLL")
    assert model.validate() == plain.validate()
    training, _ = split_episodes(MemoryData(), 0.1, 3)
    twin = PrioritisedReplay(len(training), ReplayConfig(), 3)
    twin.add(len(training), new=False)
    batch = BatchReader(training, policy.config.groups, torch.device("cpu"))(twin.draw(16).indices)
    torch.manual_seed(7)
    seen = Augmenter(SHIFT, policy)(batch.obs)
    assert isinstance(seen, dict) and not torch.equal(seen["frame"], batch.obs["frame"])
    nll = -policy.distribution(seen).log_prob(batch.teacher.mode()).mean().item()
    torch.manual_seed(7)
    model.learn()
    assert recorder.curve("train/loss")[0] == pytest.approx(nll, rel=1e-5)


def test_priorities_follow_the_losses() -> None:
    model, _ = cloning(replay=ReplayConfig(alpha=1.0), gradient_steps=1, loss_type="MSE")
    model.learn()
    # 16 of 180 samples have been seen; the others have the priority of the largest loss of those.
    assert isinstance(model.replay, PrioritisedReplay)
    below = model.replay.probabilities() < model.replay.probabilities().max()
    assert below.sum() == 15
    assert 0.0 < model.replay.statistics()["priority_max"] < 10.0


def test_learning_rate_falls_by_a_cosine() -> None:
    _, recorder = cloned = cloning(gradient_steps=4, learning_rate=1e-2, final_learning_rate=2e-3)
    cloned[0].learn()
    # 2e-3 + 8e-3 (1 + cos(pi t / 4)) / 2 at t = 0, 1, 2, 3.
    falls = [
        0.01,
        0.002 + 0.004 * (1 + math.sqrt(0.5)),
        0.006,
        0.002 + 0.004 * (1 - math.sqrt(0.5)),
    ]
    assert recorder.curve("train/learning_rate") == pytest.approx(falls)


def test_learning_rate_rises_before_it_falls() -> None:
    # Cosine 1, 0.75, 0.25, 0 at the thirds; the warm-up of 2 steps takes 1/3 and 2/3 of it.
    decay = Decay(steps=3, first=1.0, final=0.0, warmup=2)
    assert [decay.at(step) for step in range(3)] == pytest.approx([1 / 3, 0.75 * 2 / 3, 0.25])


# -- data -----------------------------------------------------------------------------


def test_held_out_episodes_are_never_trained_on() -> None:
    seen: set[int] = set()

    class Spy(MemoryData):
        def read(self, indices: np.ndarray, columns: Collection[str]) -> dict[str, np.ndarray]:
            seen.update(indices.tolist())
            return super().read(indices, columns)

    model, _ = cloning(data=Spy(), validate_every=1_000_000, gradient_steps=29)
    model.learn(Stop(28))
    assert seen <= set(range(20, 200))
    assert len(model.held_out or ()) == 20


def test_an_error_while_reading_reaches_the_training() -> None:
    class Broken(MemoryData):
        def read(self, indices: np.ndarray, columns: Collection[str]) -> dict[str, np.ndarray]:
            raise UserError("shard_00001 is damaged")

    model, _ = cloning(data=Broken())
    with pytest.raises(UserError, match="shard_00001"):
        model.learn()


# -- callbacks, logs, files -------------------------------------------------------------


def test_callbacks_come_around_each_gradient_step() -> None:
    model, _ = cloning()
    callback = Stop(5)
    model.learn(callback)
    assert callback.before == [0, 1, 2, 3, 4]
    assert model.gradient_steps == 5
    assert callback.locals["total_timesteps"] == 30


def test_what_is_logged() -> None:
    model, recorder = cloning(log_every=10)
    model.learn()
    assert [point["step"] for point in recorder.points] == [10, 20, 30]
    expected = {
        "train/loss",
        "train/nll",
        "train/kl",
        "train/mse",
        "train/action_accuracy",
        "train/log_std",
        "train/grad_norm",
        "train/learning_rate",
        "val/loss",
        "val/nll",
        "val/action_accuracy",
        "replay/size",
        "replay/alpha",
        "time/gradient_steps",
        "time/env_steps",
        "time/samples_per_second",
        "time/data_share",
        "time/training_seconds",
        "time/seconds",
    }
    assert expected <= recorder.points[0].keys()
    assert recorder.curve("time/env_steps") == [200, 200, 200]
    assert all(0 <= share <= 1 for share in recorder.curve("time/data_share"))
    assert all(np.isfinite(value) for point in recorder.points for value in point.values())


@pytest.mark.parametrize(
    ("mode", "settings"),
    [
        ("State", {}),
        ("State", {"replay": PER}),
        ("ImpaalaSmall", {"augmentation": SHIFT, "gradient_steps": 16}),
    ],
)
def test_a_run_that_was_stopped_goes_on_exactly(
    tmp_path: Path, mode: str, settings: dict[str, Any]
) -> None:
    whole, recorder = cloning(student(mode), **settings)
    whole.learn(Stop(12, tmp_path))
    torch.manual_seed(1)  # of another process, so to speak
    rest = BehaviouralCloning.load(tmp_path, MemoryData())
    assert rest.gradient_steps == 12
    rest_recorder = Recorder()
    rest.set_logger(Logger(None, [rest_recorder]))
    rest.learn()
    assert_same_weights(rest.policy, whole.policy)
    assert rest_recorder.curve("train/loss") == recorder.curve("train/loss")[12:]
    assert rest_recorder.curve("val/loss") == recorder.curve("val/loss")[1:]


def test_a_callback_that_stops_loses_nothing() -> None:
    whole, stopped = cloning(replay=PER)[0], cloning(replay=PER)[0]
    whole.learn()
    stopped.learn(Stop(7)).learn()
    assert_same_weights(stopped.policy, whole.policy)


def test_last_and_best_checkpoints(tmp_path: Path) -> None:
    model, recorder = cloning(learning_rate=0.3, gradient_steps=40)  # high: it may get worse
    model.learn(checkpoints=tmp_path)
    assert_same_weights(load_student(tmp_path / "last"), model.policy)
    best = load_student(tmp_path / "best")
    model.policy.load_state_dict(best.state_dict())
    assert model.validate()["loss"] == pytest.approx(min(recorder.curve("val/loss")))
    assert model.best_loss == min(recorder.curve("val/loss"))


# -- bad input ------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_what_is_not_finite_stops_before_the_weights_change(what: str) -> None:
    data = MemoryData()
    model, _ = cloning(data=data, batch_size=180)
    if what == "loss":
        data.columns["distribution.mean"][100] = np.nan
    else:
        parameter = next(model.policy.actor.parameters())
        parameter.register_hook(lambda gradient: gradient * torch.inf)
    before = weights_of(model.policy)
    with pytest.raises(UserError, match=f"{what} is not finite at gradient step 0"):
        model.learn()
    for name, tensor in model.policy.state_dict().items():
        assert torch.equal(before[name], tensor), name


def test_a_dataset_smaller_than_a_batch() -> None:
    with pytest.raises(UserError, match="180 states for training, fewer than a batch of 181"):
        cloning(batch_size=181)


def test_a_student_of_another_family() -> None:
    with pytest.raises(UserError, match="labels are squashed_gaussian, the student's actions gau"):
        cloning(student(family="gaussian"))


def test_nothing_to_augment() -> None:
    with pytest.raises(UserError, match="mode State"):
        cloning(augmentation=SHIFT)


@pytest.mark.parametrize("loss_type", ["MSE", "BetaNLL"])
def test_losses_of_continuous_actions(loss_type: str) -> None:
    data = MemoryData(family="categorical")
    with pytest.raises(UserError, match=f"{loss_type} needs continuous"):
        cloning(student(family="categorical"), data, loss_type=loss_type)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"loss_type": "L1"}, "'L1' is not one of NLL, BetaNLL, KL, MSE"),
        ({"batch_size": 0}, "`batch_size` 0"),
        ({"gradient_steps": -1}, "gradient_steps` -1"),
        ({"learning_rate": 0.0}, "`learning_rate` 0.0"),
        ({"learning_rate": math.nan}, "`learning_rate` nan must be finite"),
        ({"final_learning_rate": 1.0}, "learning_rate` .* must decrease"),
        ({"max_grad_norm": 0.0}, "`max_grad_norm` 0.0"),
        ({"weight_decay": -1.0}, "`weight_decay` -1.0"),
        ({"weight_decay": float("inf")}, "`weight_decay` inf must be finite"),
        ({"held_out": 1.0}, "`held_out` 1.0"),
        ({"nll_beta": 1.5}, "`nll_beta` 1.5"),
    ],
)
def test_settings_that_make_no_sense(config: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        CloningConfig(**config)
