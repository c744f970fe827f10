"""Acts and measures of policies with memory, by counting."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from Evaluation.evaluate.agreement import kl_to_teacher
from Evaluation.evaluate.episodes import agreement, policy_act, run_episodes
from Evaluation.saliency.show import saliency
from Models.distributions import DiagGaussian
from Models.networks.recurrent import Past
from tests.models.test_recurrent import at, episode, recurrent_student
from tests.support.environments.fake_env import TASK, FakeVecEnv, length_of, return_of


class Counter:
    """Acts by the number of steps since its episode began, as SB3's recurrent policies do."""

    def predict(
        self,
        observation: np.ndarray,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        n = len(observation)
        count = np.zeros(n) if state is None else state[0].copy()
        if episode_start is not None:
            count[episode_start] = 0
        return np.repeat(count[:, None], 2, axis=1).astype(np.float32), (count + 1,)


def test_the_memory_of_an_act_begins_with_each_episode() -> None:
    """The action of step t is t, so a return is that of the mean action over an episode."""
    env = FakeVecEnv(3, grouped=False)
    act = policy_act(Counter())
    for first_seed in (10, 20):  # the second time with what is left of the first
        stats = run_episodes(act, env, TASK, first_seed, 7)
        expected = [
            return_of(seed, (length_of(seed) - 1) / 2) for seed in range(first_seed, first_seed + 7)
        ]
        assert stats.returns == pytest.approx(expected)


def test_the_policy_that_does_not_act_remembers_too() -> None:
    env = FakeVecEnv(3, grouped=False)
    measures = agreement(policy_act(Counter()), env.action_space)
    stats = run_episodes(policy_act(Counter()), env, TASK, 10, 7, measures)
    assert stats.measures["action_accuracy"].tolist() == [1.0] * 7


def test_the_kl_is_that_of_the_student_with_its_memory() -> None:
    policy, obs = recurrent_student(), episode(steps=6)
    begins = np.zeros((6, 3), bool)
    begins[0], begins[3, 2], begins[4, 0] = True, True, True

    class Teacher:
        def distribution(self, batch: dict[str, torch.Tensor]) -> DiagGaussian:
            return DiagGaussian(batch["proprio"][:, :2], torch.zeros(len(batch["proprio"]), 2))

    teacher: Any = Teacher()
    flat = {group: torch.as_tensor(array).flatten(0, 1) for group, array in obs.items()}
    student = policy.distribution(flat, Past(torch.zeros(3, 6), torch.as_tensor(begins)))
    expected = teacher.distribution(flat).kl(student).view(6, 3).detach()
    measure: Any = kl_to_teacher(teacher, policy)
    for step in range(6):
        measure.reset(begins[step])
        found = measure(at(obs, step), np.zeros((3, 2)))
        np.testing.assert_allclose(found, expected[step], rtol=1e-4)


def test_saliency_is_the_gradient_at_what_is_remembered() -> None:
    """Against finite differences of the mean action, in one pixel of both frames."""
    policy, obs = recurrent_student(), at(episode(2, 1), 0)
    memory = np.random.default_rng(0).uniform(-1, 1, (2, 6)).astype(np.float32)
    past = Past(torch.as_tensor(memory), torch.zeros(1, 2, dtype=torch.bool))
    proprio = torch.as_tensor(obs["proprio"])

    @torch.no_grad()
    def mean(frames: torch.Tensor) -> torch.Tensor:
        return policy.distribution({"frame": frames, "proprio": proprio}, past).mode()

    frames, squares = torch.as_tensor(obs["frame"]).float(), torch.zeros(2)
    for channel in range(2):
        up, down = frames.clone(), frames.clone()
        up[:, channel, 5, 7] += 2.0
        down[:, channel, 5, 7] -= 2.0
        squares += ((mean(up) - mean(down)) / 4.0).square().sum(-1)
    found = saliency(policy, obs, memory=memory)[:, 5, 7]
    np.testing.assert_allclose(found, squares.sqrt(), rtol=0.05)
    other = saliency(policy, obs, memory=-3 * memory)[:, 5, 7]
    assert np.abs(other / found - 1).max() > 0.06
