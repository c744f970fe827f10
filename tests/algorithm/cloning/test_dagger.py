"""DAgger: who acts, what is kept, what a batch is made of, and that it can be gone on with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecNormalize

from Algorithm.augmentation_config import AugmentationConfig
from Algorithm.cloning.bc import BehaviouralCloning
from Algorithm.cloning.config import CloningConfig, DaggerConfig
from Algorithm.cloning.dagger import DAgger
from Algorithm.cloning.replay import ReplayConfig
from Algorithm.cloning.samples.aggregate import Aggregate
from Common.errors import UserError
from Enviroment.make import make_env
from Enviroment.tasks import get_task
from Evaluation.evaluate.callbacks import EvaluationCallback
from Models.distributions import DiagGaussian, SquashedGaussian
from Models.student.policy import StudentConfig, StudentPolicy
from Models.teacher.policy import Teacher
from tests.support.cloning_data import MemoryData, Recorder
from tests.support.environments.fake_env import TASK, FakeVecEnv, length_of
from tests.support.tiny_teacher import tiny_teacher

N_ENVS = 2
CLONING = CloningConfig(
    gradient_steps=4, batch_size=8, held_out=0.1, log_every=1, validate_every=100
)
DAGGER = DaggerConfig(rounds=3, env_steps=20, gradient_steps=5)
FRAMES = dataclasses.replace(get_task("Pusher"), frame_size=(16, 16), stack=2)


def teacher(family: str = SquashedGaussian.family) -> Teacher:
    return tiny_teacher(family, state_dim=2, action_dim=2, task="Fake")


class BoundedFakeEnv(FakeVecEnv):
    """The fake environment, with the teacher's bounds, and every action kept."""

    task = TASK

    def __init__(self) -> None:
        super().__init__(N_ENVS, grouped=True)
        self.action_space = spaces.Box(-2.0, 2.0, (2,), np.float32)
        self.seen: list[np.ndarray] = []
        self.done: list[np.ndarray] = []
        self.seeds: list[int] = []

    def reset(self) -> Any:
        self.seeds.append(self._seeds[0] or 0)
        return super().reset()

    def step_async(self, actions: np.ndarray) -> None:
        self.seen.append(self._state().copy())
        self.done.append(actions.copy())
        super().step_async(actions)


class FakeData(MemoryData):
    """A dataset of the fake environment's states, labelled by the teacher."""

    def __init__(self, n_episodes: int = 20) -> None:
        super().__init__(n_episodes)
        state = np.abs(self.columns["state"][:, :2]) * 10
        params = teacher().distribution(torch.from_numpy(state)).params()
        labels = {f"distribution.{name}": value.numpy() for name, value in params.items()}
        self.columns = {"state": state, **labels}


def student(env: Any, mode: str = "State", family: str = SquashedGaussian.family) -> StudentPolicy:
    torch.manual_seed(0)
    config = StudentConfig(mode=mode, family=family, precision="float32", head=(16,))
    return StudentPolicy(env.observation_space, env.action_space, lambda _: 1e-3, config=config)


def dagger(
    dataset: MemoryData | None = None,
    config: CloningConfig = CLONING,
    replay: ReplayConfig | None = None,
    cloned: bool = False,
    **settings: Any,
) -> tuple[DAgger, BoundedFakeEnv, Recorder]:
    env, recorder = BoundedFakeEnv(), Recorder()
    model = DAgger(
        student(env),
        env,
        teacher(),
        dataset,
        config,
        dataclasses.replace(DAGGER, **settings),
        replay,
        seed=5,
        first_seed=100,
        cloned=cloned,
    )
    model.set_logger(Logger(None, [recorder]))
    return model, env, recorder


def actions_of(act: Callable[[dict[str, np.ndarray]], Any], env: BoundedFakeEnv) -> np.ndarray:
    return np.stack([act({"state": state})[0] for state in env.seen])


# -- who acts -------------------------------------------------------------------------


@pytest.mark.parametrize(("beta", "who"), [(0.0, "student"), (1.0, "teacher")])
def test_who_acts(beta: float, who: str) -> None:
    model, env, _ = dagger(rounds=1, beta_schedule="constant", beta=beta)
    act = model.policy.predict if who == "student" else model.teacher.predict
    expected: list[np.ndarray] = []

    class Watch(BaseCallback):
        """Compares before the student has learned."""

        def _on_rollout_start(self) -> None:
            if env.seen and not expected:
                expected.append(actions_of(lambda obs: act(obs, deterministic=True), env))

        def _on_step(self) -> bool:
            return True

    model.learn(Watch())
    np.testing.assert_allclose(np.stack(env.done), expected[0], atol=1e-6)


def test_a_mixture_acts_with_its_share() -> None:
    model, env, _ = dagger(rounds=1, env_steps=800, beta_schedule="constant", beta=0.3)
    model.learn()
    theirs = actions_of(lambda obs: model.teacher.predict(obs), env)
    share = np.isclose(np.stack(env.done), theirs, atol=1e-6).all(-1).mean()
    # 800 coins: five standard deviations are 0.08.
    assert share == pytest.approx(0.3, abs=0.08)


def test_gaussian_actions_are_clipped_to_the_bounds() -> None:
    env = BoundedFakeEnv()
    policy = student(env, family=DiagGaussian.family)
    bias = policy.get_parameter("actor.2.bias")
    bias.data[:2] = torch.tensor([50.0, -50.0])
    one_round = dataclasses.replace(DAGGER, rounds=1)
    DAgger(policy, env, teacher(DiagGaussian.family), None, CLONING, one_round).learn()
    assert (np.stack(env.done) == [2.0, -2.0]).all()


# -- labels and aggregation -----------------------------------------------------------


def test_every_visited_state_is_labelled_whoever_acted() -> None:
    model, env, _ = dagger(beta_schedule="constant", beta=0.5)
    model.learn()
    # 3 rounds of 20 env steps, in the order of steps and then environments.
    states = np.concatenate(env.seen)
    assert len(model.data) == len(states) == 60
    columns = ("state", "distribution.mean", "distribution.log_std")
    kept = model.data.read(np.arange(60), columns)
    np.testing.assert_array_equal(kept["state"], states)
    labels = model.teacher.distribution(torch.from_numpy(states)).params()
    # A batch of another size rounds otherwise.
    np.testing.assert_allclose(kept["distribution.mean"], labels["mean"], atol=1e-6)
    np.testing.assert_allclose(kept["distribution.log_std"], labels["log_std"], atol=1e-6)


def test_data_is_aggregated_and_never_replaced() -> None:
    model, _, recorder = dagger(FakeData())
    sizes: list[int] = []
    first: list[np.ndarray] = []

    class Watch(BaseCallback):
        def _on_rollout_start(self) -> None:
            sizes.append(len(model.data))
            first.append(model.data.read(np.arange(180), ("state",))["state"])

        def _on_step(self) -> bool:
            return True

    model.learn(Watch())
    # 180 of the dataset (20 validate); 4 steps of round 0, then 5 after every 20 env steps, and
    # once more before these are collected.
    assert sizes == [180] * 5 + [200] * 6 + [220] * 6 + [240] * 5
    assert all((states == first[0]).all() for states in first)
    assert recorder.curve("dagger/round") == [1, 2, 3]
    assert recorder.points[-1]["time/env_steps"] == 260
    assert recorder.points[-1]["time/gradient_steps"] == 19


def test_batches_are_half_old_half_new() -> None:
    model, _, _ = dagger(FakeData())
    drawn: list[np.ndarray] = []
    draw = model.replay.draw

    def spy(*arguments: Any) -> Any:
        drawn.append(draw(*arguments).indices)
        return draw(*arguments)

    model.replay.draw = spy  # pyright: ignore[reportAttributeAccessIssue]
    model.learn()
    assert all((indices < 180).all() for indices in drawn[:4])
    for number, n_old in ((1, 180), (2, 200), (3, 220)):
        for indices in drawn[4 + 5 * (number - 1) :][:5]:
            assert (indices < n_old).sum() == 4
            assert ((indices >= n_old) & (indices < n_old + 20)).sum() == 4


def test_training_batches_are_augmented_and_the_student_acts_without() -> None:
    env = make_env(FRAMES, N_ENVS, seed=0, workers="serial")
    try:
        config = DaggerConfig(rounds=1, env_steps=20, gradient_steps=2)
        shift = AugmentationConfig(random_shift=2)
        policy, data = student(env, "ImpaalaSmall"), None
        model = DAgger(policy, env, tiny_teacher(), data, CLONING, config, augmentation=shift)
        augment, seen = model.augmenter, []
        model.augmenter = lambda obs: seen.append(len(obs["frame"])) or augment(obs)  # type: ignore[assignment]
        model.learn()
        assert seen == [CLONING.batch_size] * 2
    finally:
        env.close()


def test_each_round_begins_episodes_of_its_own() -> None:
    model, env, recorder = dagger()
    model.learn()
    assert env.seeds[0] == 100
    # 10 steps in each environment; episode k of environment i is that of seed s + 2 k + i.
    for first, following in zip(env.seeds, env.seeds[1:], strict=False):
        begun = [1, 1]
        for i in range(2):
            steps = length_of(first + i)
            while steps <= 10:
                steps += length_of(first + i + 2 * begun[i])
                begun[i] += 1
        assert following == first + 2 * max(begun)
    assert len(recorder.curve("dagger/ep_return")) == 3


def test_frames_are_kept_once_and_stacked_as_they_were_seen() -> None:
    env = make_env(FRAMES, N_ENVS, seed=0, workers="serial")
    try:
        policy = student(env, "ImpaalaSmall")
        seen: list[np.ndarray] = []
        step = env.step

        def spy(actions: np.ndarray) -> Any:
            result = step(actions)
            seen.append(result[0]["frame"])
            return result

        env.step = spy  # pyright: ignore[reportAttributeAccessIssue]
        # 102 steps an environment: across the end of an episode.
        config = DaggerConfig(rounds=1, env_steps=204, gradient_steps=2)
        model = DAgger(policy, env, tiny_teacher(), None, CLONING, config)
        model.learn()
        rows = np.arange(N_ENVS, 204)
        read = model.data.read(rows, ("frame",))["frame"]
        np.testing.assert_array_equal(read, np.concatenate(seen[:-1]))
        state = model.data.capture()
        assert state["frames"].shape == (102, N_ENVS, 1, 16, 16)
        again = Aggregate(None, SquashedGaussian.family, 102, N_ENVS, FRAMES)
        again.restore(state)
        np.testing.assert_array_equal(again.read(rows, ("frame",))["frame"], read)
    finally:
        env.close()


# -- learning -------------------------------------------------------------------------


def test_round_0_is_behavioural_cloning() -> None:
    model, env, recorder = dagger(FakeData())
    model.learn()
    cloned = BehaviouralCloning(student(env), FakeData(), CLONING, seed=5)
    cloned.decay = lambda steps: model.decay(19)  # pyright: ignore[reportAttributeAccessIssue]
    cloned_recorder = Recorder()
    cloned.set_logger(Logger(None, [cloned_recorder]))
    cloned.learn()
    assert recorder.curve("train/loss")[:4] == cloned_recorder.curve("train/loss")


def test_a_cloned_student_skips_round_0() -> None:
    model, _, recorder = dagger(FakeData(), cloned=True)
    model.learn()
    assert model.gradient_steps == 15
    assert recorder.points[0]["dagger/round"] == 1


def test_from_nothing_the_students_error_falls() -> None:
    model, _, recorder = dagger(env_steps=200, gradient_steps=150)
    model.learn()
    errors = recorder.curve("dagger/mse")
    assert errors[-1] < 0.3 * errors[0]


def test_priorities_and_dynamic_alpha_work_over_rounds() -> None:
    replay = ReplayConfig(alpha=0.6, mode_alpha="dynamic_max", anneal_every=2)
    model, _, recorder = dagger(FakeData(), replay=replay)
    model.learn()
    assert model.replay.size == 240
    assert recorder.curve("replay/beta")[-1] > 0.9
    assert all(0 < alpha <= 0.6 for alpha in recorder.curve("replay/alpha"))


@pytest.mark.parametrize(
    ("cloned", "expected"),
    [
        (False, [(0, 200), (5, 220), (10, 240), (15, 260), (19, 260)]),
        # Between two rounds, the student has not got the next round's 20 env steps.
        (True, [(0, 200), (5, 220), (10, 240), (15, 260)]),
    ],
)
def test_evaluation_goes_by_gradient_steps(cloned: bool, expected: list[tuple[int, int]]) -> None:
    model, _, recorder = dagger(FakeData(), cloned=cloned)
    evaluation = EvaluationCallback(
        BoundedFakeEnv(), TASK, id_seed=0, eval_every=5, n_episodes=3, baselines={}
    )
    model.learn(evaluation)
    evaluated = [point for point in recorder.points if "eval/od_return" in point]
    assert [(p["step"], p["time/env_steps"]) for p in evaluated] == expected


def test_the_teacher_is_unchanged() -> None:
    model, _, _ = dagger(FakeData())
    before = {name: tensor.clone() for name, tensor in model.teacher.state_dict().items()}
    model.learn()
    for name, tensor in model.teacher.state_dict().items():
        assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("at", [2, 4, 6, 9])
@pytest.mark.parametrize("alpha", [0.0, 0.6])
def test_a_run_that_was_stopped_goes_on_exactly(tmp_path: Path, at: int, alpha: float) -> None:
    class SaveAt(BaseCallback):
        def _on_step(self) -> bool:
            if self.num_timesteps == at:
                self.model.save(tmp_path)
            return True

    replay = ReplayConfig(alpha=alpha, anneal_every=2)
    mixture = {"beta_schedule": "constant", "beta": 0.5}
    whole, _, _ = dagger(FakeData(), replay=replay, **mixture)
    whole.learn(SaveAt())
    rest = DAgger.load(tmp_path, BoundedFakeEnv(), teacher(), FakeData())
    assert rest.gradient_steps == at
    rest.learn()
    for name, tensor in whole.policy.state_dict().items():
        assert torch.equal(rest.policy.state_dict()[name], tensor), name
    assert rest.env_steps == whole.env_steps == 260


# -- bad input ------------------------------------------------------------------------


def test_what_does_not_fit() -> None:
    with pytest.raises(UserError, match="20 env steps must fill a batch of 21"):
        dagger(config=dataclasses.replace(CLONING, batch_size=21))
    # Two environments take 10 steps each.
    with pytest.raises(UserError, match="20 env steps must fill a batch of 21"):
        dagger(config=dataclasses.replace(CLONING, batch_size=21), env_steps=21)
    with pytest.raises(UserError, match="fewer than a batch of 181"):
        dagger(FakeData(), dataclasses.replace(CLONING, batch_size=181))
    with pytest.raises(UserError, match="A round of 1 env steps is too short for 2"):
        dagger(env_steps=1)
    with pytest.raises(UserError, match="dataset's labels are categorical"):
        dagger(MemoryData(family="categorical"))
    env = BoundedFakeEnv()
    with pytest.raises(UserError, match="teacher of Pusher; the task is Fake"):
        DAgger(student(env), env, tiny_teacher(state_dim=2, action_dim=2), None, CLONING)
    with pytest.raises(UserError, match="Give the student the family"):
        DAgger(student(env, family="gaussian"), env, teacher(), None, CLONING, DAGGER)
    with pytest.raises(UserError, match="group `state`"):
        DAgger(student(env), FakeVecEnv(2, grouped=False), teacher(), None, CLONING)
    with pytest.raises(UserError, match="norm_obs=False"):
        DAgger(student(env), VecNormalize(env), teacher(), None, CLONING, DAGGER)


def test_labels_that_are_not_finite() -> None:
    model, _, _ = dagger()
    model.teacher.head.bias.data[0] = np.nan
    with pytest.raises(UserError, match="teacher's mean is not finite at environment step 0"):
        model.learn()


def test_a_checkpoint_of_another_method(tmp_path: Path) -> None:
    model = BehaviouralCloning(student(BoundedFakeEnv()), FakeData(), CLONING)
    model.save(tmp_path)
    with pytest.raises(UserError, match="does not hold a DAgger training"):
        DAgger.load(tmp_path, BoundedFakeEnv(), teacher(), FakeData())
