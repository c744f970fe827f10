"""Show the progress of training, and estimate how long it takes."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TextIO

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter
from tqdm import tqdm

from Common.commands.wording import duration

_LINE_INTERVAL = 30.0  # s between lines if there is no terminal
_FIRST_ESTIMATE = 5.0  # s of training before the first estimate; the very first steps are slow


def print_beside_bar(line: str) -> None:
    """Print a line on standard output, above a progress bar if there is one."""
    tqdm.write(line, file=sys.stdout)
    sys.stdout.flush()


@dataclass
class EvaluationTimes:
    """The time that evaluations take, which the callback that evaluates keeps up to date."""

    every: int  # steps between two evaluations
    count: int = 0  # evaluations so far
    spent: float = 0.0  # s, all of them
    latest: float = 0.0  # s, the latest one

    def add(self, seconds: float) -> None:
        """Add an evaluation."""
        self.count += 1
        self.spent += seconds
        self.latest = seconds

    def still_to_come(self, step: int, total: int) -> int:
        """Return the number of evaluations after `step`, with that at the end."""
        return math.ceil((total - step) / self.every)


class ProgressBar(BaseCallback):
    """Shows steps per second, return, KL and the remaining time, and estimates the whole time.

    On a terminal it is a bar, elsewhere a line every 30 seconds. Return and KL are the latest
    logged values. The estimate is printed once, after the first rollout or `first_steps`.

    Args:
        times: times of the evaluations, which the remaining time includes.
        ending: duration of the work after training, in evaluations.
        first_steps: steps before the estimate, such as those of a whole round of DAgger, whose time
            is mostly before its first step.
        stream: the stream to print to; default: standard error.
        clock: function that returns seconds.
    """

    _SHOWN = (("return", "rollout/ep_return"), ("KL", "train/kl"))

    def __init__(
        self,
        times: EvaluationTimes | None = None,
        ending: float = 0.0,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        first_steps: int = 1,
    ) -> None:
        super().__init__()
        self._first_steps = first_steps
        self._times = times or EvaluationTimes(every=sys.maxsize)
        self._ending = ending if times is not None else 0.0
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._logged = _LatestValues()
        self._bar: tqdm | None = None

    def _on_training_start(self) -> None:
        self._total = int(self.locals["total_timesteps"])
        self._first_step = self.model.num_timesteps  # not 0 in a resumed run
        self._started, self._spent_before = self._clock(), self._times.spent
        self._line_due = self._started + _LINE_INTERVAL
        self._shown_step = self._first_step
        self._estimated = False
        self.logger.output_formats.append(self._logged)
        if self._stream.isatty():
            self._bar = tqdm(
                total=self._total,
                initial=self._first_step,
                file=self._stream,
                unit=" steps",
                dynamic_ncols=True,
                # Without tqdm's own remaining time, which leaves out the evaluations to come.
                bar_format="{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]",
            )

    def _on_rollout_start(self) -> None:
        training = self._training_seconds()
        enough = self._done() >= self._first_steps and training >= _FIRST_ESTIMATE
        if not self._estimated and enough:
            self._estimated = True
            print_beside_bar(self._estimate(training))

    def _on_step(self) -> bool:
        if self._bar is not None:
            self._bar.set_postfix_str(self._figures(), refresh=False)
            self._bar.update(self.num_timesteps - self._bar.n)
        elif self._clock() >= self._line_due:
            self._line_due = self._clock() + _LINE_INTERVAL
            self._print_line()
        return True

    def _on_training_end(self) -> None:
        self.logger.output_formats.remove(self._logged)
        if self._bar is not None:
            self._bar.set_postfix_str(self._figures(), refresh=False)
            self._bar.close()
            self._bar = None
        elif self.num_timesteps != self._shown_step:
            self._print_line()

    def _print_line(self) -> None:
        self._shown_step = self.num_timesteps
        line = f"{self.num_timesteps:,} of {self._total:,} steps, {self._figures()}"
        print(line, file=self._stream, flush=True)

    def _figures(self) -> str:
        rate = self._done() / max(self._training_seconds(), 1e-9)
        shown = [f"{rate:,.0f} steps/s" if rate >= 10 else f"{rate:.1f} steps/s"]
        shown += [
            f"{label} {self._logged.values[key]:.3g}"
            for label, key in self._SHOWN
            if key in self._logged.values
        ]
        if self._done() > 0 and self.num_timesteps < self._total:
            shown.append(f"{duration(self._seconds_left())} left")
        return ", ".join(shown)

    # -- the estimate -----------------------------------------------------------------------------

    def _done(self) -> int:
        """Return the steps of this session."""
        return self.num_timesteps - self._first_step

    def _training_seconds(self) -> float:
        """Return the time of this session without evaluations."""
        return self._clock() - self._started - (self._times.spent - self._spent_before)

    def _seconds_left(self) -> float:
        training = self._training_seconds() / self._done() * (self._total - self.num_timesteps)
        evaluations = self._times.still_to_come(self.num_timesteps, self._total)
        return training + (evaluations + self._ending) * self._times.latest

    def _estimate(self, training: float) -> str:
        """Return how long this session takes as a whole, with what it has done."""
        trains = training / self._done() * (self._total - self._first_step)
        evaluations = self._times.still_to_come(self.num_timesteps, self._total) + self._ending
        evaluates = self._times.spent - self._spent_before + evaluations * self._times.latest
        line = f"estimated time: {duration(trains + evaluates)}"
        if not self._times.count:  # none yet in a resumed run
            return f"{line} without evaluations"
        return f"{line} (training {duration(trains)}, evaluations {duration(evaluates)})"


class _LatestValues(KVWriter):
    """Keeps the latest logged values, which the logger clears with every dump."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def write(
        self,
        key_values: dict[str, Any],
        key_excluded: dict[str, tuple[str, ...]],
        step: int = 0,
    ) -> None:
        self.values.update(key_values)

    def close(self) -> None:
        pass
