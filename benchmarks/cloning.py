"""Compare this project's loop of behavioural cloning with a plain PyTorch DataLoader loop.

Usage: python benchmarks/cloning.py [--rounds 5] [--threads 2] [--precisions float32]

All learn from the same memory-mapped dataset, with the same weights, batches, loss, schedule and
precision, and their loss curves must agree. Precisions are float32 and, if the CPU supports it,
bfloat16, the default of `--BC_phase` there. The loops alternate, so that other load on the machine
affects all of them; ratios are within a round. The second rival also has our memory layout
(channels last), so that its ratio measures data loading and memory. Rivals run in processes of
their own, with the default allocation of memory. At the end, a roofline: the time that the
convolutions alone need (`benchmarks/roofline.py`).
"""

from __future__ import annotations

import contextlib
import multiprocessing
import statistics
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from rivals.dataloader_loop import PlainLoop
from roofline import print_roofline
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger

from Algorithm.cloning.bc import BehaviouralCloning
from Algorithm.cloning.config import CloningConfig
from Algorithm.cloning.replay import PrioritisedReplay, ReplayConfig
from Algorithm.cloning.samples.data import TeacherSamples
from Common.cores import available_cores
from Common.device import fastest_precision
from Common.memory import keep_freed_memory
from Enviroment.dataset.collect import collect
from Enviroment.dataset.reader import TeacherDataset
from Enviroment.make import make_env
from Enviroment.observations import FRAME
from Enviroment.tasks import get_task
from Models.student.policy import StudentConfig, StudentPolicy
from Models.teacher.labels import TeacherLabeller
from Models.teacher.policy import Teacher
from Models.teacher.shipped import default_teacher

TARGET = 2.0  # times the samples per second of the plain loop
DATA_SHARE = 0.1  # maximum share of a step
OURS, PLAIN, LAST = "ours", "DataLoader, contiguous", "DataLoader, channels last"
# Relative to 1 + |loss|, in the first round. Memory layouts affect rounding, and training amplifies
# the difference, so that later only the means of rounds are compared.
_TOLERANCE = {"float32": 1e-3, "bfloat16": 3e-2}
_TOLERANCE_OF_MEANS = 0.05


@dataclass(frozen=True)
class Settings:
    """Settings of the benchmark; the defaults are those of `--BC_phase`, with larger batches."""

    mode: str = "ImpaalaSmall"
    precisions: tuple[str, ...] = tuple(
        dict.fromkeys(["float32", fastest_precision(torch.device("cpu"))])
    )
    num_data: int = 20_000  # env steps in the dataset
    batch_size: int = 128  # samples, as in published figures
    rounds: int = 5
    steps: int = 40  # gradient steps per round and loop
    loader_workers: int = 2
    threads: int = available_cores()


class _Curve(KVWriter):
    """Records the loss of every step, and its share of time for data loading."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.data_shares: list[float] = []

    def write(self, key_values: dict[str, Any], key_excluded: dict, step: int = 0) -> None:
        self.losses.append(key_values["train/loss"])
        self.data_shares.append(key_values["time/data_share"])

    def close(self) -> None:
        """Do nothing."""


class _StopAfter(BaseCallback):
    """Ends a round after some steps."""

    def __init__(self, n_steps: int) -> None:
        super().__init__()
        self._left = n_steps

    def _on_step(self) -> bool:
        self._left -= 1
        return self._left > 0


class Ours:
    """The project's loop, which continues where it stopped."""

    def __init__(
        self, student: StudentPolicy, dataset: TeacherDataset, config: CloningConfig
    ) -> None:
        self._model = BehaviouralCloning(student, TeacherSamples(dataset), config)
        self.curve = _Curve()
        self._model.set_logger(Logger(None, [self.curve]))

    def learn(self, n_steps: int) -> list[float]:
        """Run gradient steps, and return the loss before each."""
        self._model.learn(_StopAfter(n_steps))
        return self.curve.losses[-n_steps:]


@dataclass(frozen=True)
class Problem:
    """What all contenders learn, as another process can receive it."""

    settings: Settings
    folder: Path  # of the dataset
    network: StudentConfig
    config: CloningConfig

    def dataset(self) -> TeacherDataset:
        """Open the dataset."""
        return TeacherDataset.open(self.folder, get_task("Pusher"))

    def plain_loop(self, *, plain_encoder: bool) -> PlainLoop:
        """Return a rival with the weights and batches of our loop."""
        dataset, workers = self.dataset(), self.settings.loader_workers
        student = make_student(dataset, self.network)
        batches = same_batches(dataset, self.config)
        return PlainLoop(
            student, dataset, batches, self.config, workers, plain_encoder=plain_encoder
        )


class Rival:
    """A plain loop in a process of its own, because ours changes how a process keeps memory."""

    def __init__(self, problem: Problem, *, plain_encoder: bool) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        arguments = theirs, problem, plain_encoder
        self._process = context.Process(target=_serve, args=arguments)
        self._process.start()
        theirs.close()

    def learn(self, n_steps: int) -> list[float]:
        """Run gradient steps, and return the loss before each."""
        self._pipe.send(n_steps)
        return self._pipe.recv()

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join()


def _serve(pipe: Connection, problem: Problem, plain_encoder: bool) -> None:
    torch.set_num_threads(problem.settings.threads)
    loop = problem.plain_loop(plain_encoder=plain_encoder)
    with contextlib.suppress(EOFError):  # the benchmark has closed its end
        while True:
            pipe.send(loop.learn(pipe.recv()))


def main(settings: Settings) -> None:
    """Collect a dataset, measure every contender in every round, and print the results."""
    torch.set_num_threads(settings.threads)
    keep_freed_memory()  # as the commands do
    with tempfile.TemporaryDirectory() as folder:
        teacher = Teacher.load(default_teacher("Pusher"), min_std=0.2)
        dataset = Path(folder) / "dataset"
        collect(get_task("Pusher"), TeacherLabeller(teacher), dataset, settings.num_data)
        for precision in settings.precisions:
            network = StudentConfig(settings.mode, teacher.description.family, precision=precision)
            measure(settings, dataset, network)


def measure(settings: Settings, folder: Path, network: StudentConfig) -> None:
    """Measure the contenders alternately, after one round for warm-up."""
    n_steps = settings.steps * (settings.rounds + 1)
    config = CloningConfig(
        loss_type="NLL",  # that of the rival
        gradient_steps=n_steps + 1,  # avoids the validation after the last step
        batch_size=settings.batch_size,
        held_out=0.0,
        log_every=1,
        validate_every=n_steps + 1,
    )
    problem, kinds = Problem(settings, folder, network, config), {PLAIN: True, LAST: False}
    dataset = problem.dataset()
    h, w = dataset.task.frame_size
    print(f"\n{network.mode}, {h}x{w}, {network.precision}, batches of {settings.batch_size}")
    rivals = {name: Rival(problem, plain_encoder=plain) for name, plain in kinds.items()}
    student = make_student(dataset, network)
    ours = Ours(student, dataset, config)
    contenders: dict[str, Ours | Rival] = {**rivals, OURS: ours}
    losses: dict[str, list[float]] = {name: [] for name in contenders}
    speeds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(settings.rounds + 1):
        for name, contender in contenders.items():
            start = time.perf_counter()
            losses[name] += contender.learn(settings.steps)
            samples = settings.steps * settings.batch_size
            speeds[name].append(samples / (time.perf_counter() - start))
    for rival in rivals.values():
        rival.close()
    check_curves(settings, losses, _TOLERANCE[network.precision])
    report(settings, {name: values[1:] for name, values in speeds.items()})
    share = statistics.mean(ours.curve.data_shares[settings.steps :])
    print(f"share of our steps spent on data loading: {share:.1%} (target: below {DATA_SHARE:.0%})")
    frames = torch.as_tensor(dataset.read(np.arange(settings.batch_size))[FRAME])
    own, plain = (statistics.median(speeds[name][1:]) for name in (OURS, PLAIN))
    print_roofline(student.encoder, frames, own / plain)


def make_student(dataset: TeacherDataset, network: StudentConfig) -> StudentPolicy:
    """Return a student with random weights for the dataset's task."""
    env = make_env(dataset.task, 1, 0)
    spaces = env.observation_space, env.action_space
    env.close()
    torch.manual_seed(0)
    return StudentPolicy(*spaces, lambda _: 0.0, config=network)


def same_batches(dataset: TeacherDataset, config: CloningConfig) -> list[np.ndarray]:
    """Return the indices that our loop draws with seed 0 in all its steps."""
    draws = PrioritisedReplay(len(dataset), ReplayConfig(), seed=0)
    draws.add(len(dataset), new=False)
    return [draws.draw(config.batch_size).indices for _ in range(config.gradient_steps)]


def check_curves(settings: Settings, losses: dict[str, list[float]], tolerance: float) -> None:
    """Assert that the loss curves of all contenders agree."""
    ours = np.array(losses[OURS]).reshape(-1, settings.steps)  # (rounds, steps)
    print(f"loss: {ours[0, 0]:.3f} at first, {ours[-1].mean():.3f} in the last round")
    for name in losses.keys() - {OURS}:
        theirs = np.array(losses[name]).reshape(-1, settings.steps)
        first = float(np.max(np.abs(ours[0] - theirs[0]) / (1 + np.abs(ours[0]))))
        means = ours.mean(axis=1), theirs.mean(axis=1)
        later = float(np.max(np.abs(means[0] - means[1]) / (1 + np.abs(means[0]))))
        assert first <= tolerance, f"{name} differs by {first:.2g} in the first round"
        assert later <= _TOLERANCE_OF_MEANS, f"{name}: the mean of a round differs by {later:.2g}"
        print(
            f"deviation from {name}: {first:.2g} of 1 + |loss| in the steps of the first round, "
            f"{later:.2g} in the means of rounds"
        )


def report(settings: Settings, speeds: dict[str, list[float]]) -> None:
    """Print the medians over the rounds, with the range of the ratios."""
    print(
        f"{settings.threads} threads, {settings.rounds} rounds of {settings.steps} gradient steps"
    )
    for name, values in speeds.items():
        ratios = [own / theirs for own, theirs in zip(speeds[OURS], values, strict=True)]
        line = f"{name:28}{statistics.median(values):10.0f} samples per second"
        if name != OURS:
            spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
            line += f"; ours {statistics.median(ratios):.2f} times as fast ({spread})"
        if name == PLAIN:
            reached = "reached" if statistics.median(ratios) >= TARGET else "missed"
            line += f", target {TARGET:g}: {reached}"
        print(line)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
