"""Progress during SB3's own PPO, by a clock of hand arithmetic."""

from __future__ import annotations

import io

import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.logger import Logger

from Evaluation.evaluate.progress_bar import EvaluationTimes, ProgressBar
from tests.support.environments.fake_env import FakeVecEnv


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock(BaseCallback):
    """Every env step of the two environments takes `step` seconds; an evaluation takes 12."""

    def __init__(self, step: float, times: EvaluationTimes) -> None:
        super().__init__()
        self.now, self.step, self.times = 0.0, step, times

    def __call__(self) -> float:
        return self.now

    def _on_rollout_start(self) -> None:
        if self.num_timesteps % self.times.every == 0:
            self.evaluate()

    def _on_training_end(self) -> None:
        self.evaluate()

    def evaluate(self) -> None:
        self.now += 12.0
        self.times.add(12.0)

    def _on_step(self) -> bool:
        self.now += self.step
        return True


def make_model() -> PPO:
    """PPO with rollouts of 8 env steps."""
    model = PPO("MlpPolicy", FakeVecEnv(2, grouped=False), n_steps=4, batch_size=8, n_epochs=1)
    model.set_logger(Logger(None, []))
    return model


def train(total: int, step: float, stream: io.StringIO, ending: float = 0.0, every: int = 16):
    times = EvaluationTimes(every)
    clock = Clock(step, times)
    model = make_model()
    model.learn(total, CallbackList([ProgressBar(times, ending, stream, clock), clock]))
    return model


def test_the_whole_time_is_estimated_once_with_the_evaluations(capsys) -> None:
    """A rollout is 4 steps of 5 s. 64 env steps are 8 rollouts: 160 s. Evaluations are at 0, 16,
    32, 48 and 64: 60 s, and one and a half after training: 18 s."""
    train(64, 5.0, io.StringIO(), ending=1.5)
    (line,) = capsys.readouterr().out.splitlines()
    assert line == "estimated time: 4 min (training 3 min, evaluations 78 s)"


def test_the_estimate_waits_for_steps_that_say_something(capsys) -> None:
    """After the first rollout 2 s have passed, after the third 6 s. 8 rollouts take 16 s."""
    train(64, 0.5, io.StringIO())
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("estimated time: 76 s (training 16 s, ")


def test_the_estimate_waits_for_a_whole_round(capsys) -> None:
    """The first rollout takes 40 s and the others 10 s: two of eight take 50 s, all of them 200 s.
    Evaluations are at 0 and at the end: 24 s.
    """

    class SlowStart(Clock):
        def _on_step(self) -> bool:
            self.now += 10.0 if self.num_timesteps <= 8 else 2.5
            return True

    times = EvaluationTimes(1000)
    clock = SlowStart(0.0, times)
    bar = ProgressBar(times, 0.0, io.StringIO(), clock, first_steps=16)
    make_model().learn(64, CallbackList([bar, clock]))
    (line,) = capsys.readouterr().out.splitlines()
    assert line == "estimated time: 4 min (training 3 min, evaluations 24 s)"


def test_without_a_terminal_a_line_every_thirty_seconds() -> None:
    stream = io.StringIO()
    train(64, 4.0, stream)
    lines = stream.getvalue().splitlines()
    # 32 steps of 4 s and four evaluations: 176 s. A line needs 30 s.
    assert 4 <= len(lines) <= 6
    assert len(set(lines)) == len(lines)
    # 2 env steps in 4 s. The time left has no evaluation that is over.
    assert lines[-1] == "64 of 64 steps, 0.5 steps/s"
    assert "\r" not in stream.getvalue()


def test_a_line_has_the_time_that_is_left() -> None:
    """The first line is due 30 s after the start: at 32 s, with 12 s of evaluation and 12 env
    steps in 20 s. 52 remain: 87 s, with evaluations after 16, 32, 48 and 64: 48 s."""
    stream = io.StringIO()
    train(64, 4.0, stream)
    assert stream.getvalue().splitlines()[0] == "12 of 64 steps, 0.6 steps/s, 2 min left"


def test_return_and_kl_are_shown_when_they_have_been_logged() -> None:
    class Log(ProgressBar):
        def _on_rollout_start(self) -> None:
            self.logger.record("train/kl", 0.125)
            self.logger.record("rollout/ep_return", -31.5)

    stream = io.StringIO()
    model = make_model()
    model.learn(16, Log(stream=stream))
    assert stream.getvalue().endswith("steps/s, return -31.5, KL 0.125\n")
    assert model.logger.output_formats == []  # nothing of the bar's is left behind


def test_on_a_terminal_there_is_a_bar() -> None:
    stream = Terminal()
    train(16, 40.0, stream)
    assert "16/16" in stream.getvalue()
    assert "steps/s" in stream.getvalue()


def test_progress_of_a_resumed_run_starts_where_it_was() -> None:
    model = make_model()
    model.learn(16)
    stream = io.StringIO()
    ticks = iter([0.0, *[4.0] * 100])
    progress = ProgressBar(stream=stream, clock=lambda: next(ticks))
    model.learn(8, progress, reset_num_timesteps=False)
    assert stream.getvalue() == "24 of 24 steps, 2.0 steps/s\n"  # 8 steps in 4 seconds


@pytest.mark.parametrize(
    ("step", "total", "expected"),
    [(0, 100, 4), (1, 100, 4), (25, 100, 3), (99, 100, 1), (100, 100, 0), (0, 10, 1)],
)
def test_evaluations_to_come_include_that_at_the_end(step: int, total: int, expected: int) -> None:
    assert EvaluationTimes(every=25).still_to_come(step, total) == expected
