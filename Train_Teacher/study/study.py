"""`Train_Teacher/Hopper.py --study`: train in all domains, test across them, draw and tabulate.

OUTPUT/runs/<algorithm>/<domain>_<seed>/   run folders with the bundles in teacher/
OUTPUT/logs/                               output of the trainings
OUTPUT/tests/                              returns of the tests
OUTPUT/study.json table.md figure1_*.png figure2_*.png figure3_*.png
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from Common.commands.jobs import Ended, Job, LocalWorkers, run_jobs
from Common.commands.signals import StopSignals
from Common.errors import UserError
from Common.files.bounded_read import read_json, read_object
from Common.files.locks import locked
from Common.places import ROOT
from Common.runs import run_folder
from Common.runs.files import CONFIG_FILE, METRICS_FILE, read_metrics
from Common.runs.run_folder import TEACHER
from Enviroment import seeds
from Enviroment.make import make_state_env
from Evaluation.evaluate.episodes import policy_act, run_episodes
from Evaluation.tool import write_json
from Models.teacher.policy import Teacher
from Train_Teacher.command import parse
from Train_Teacher.study.config import TRANSFERS, StudyFlags, Training
from Train_Teacher.study.domains import (
    STUDY_FILE,
    TABLE_FILE,
    FinishedTraining,
    Study,
    Transfer,
    write_numbers,
)
from Train_Teacher.study.pictures import draw_study

_SCRIPT = ROOT / "Train_Teacher" / "Hopper.py"
_ENVS = 10  # parallel environments per test
_MAX_JSON = 2**22  # bytes


def run_study(flags: StudyFlags) -> int:
    """Run the unfinished trainings and tests, and write the results.

    Returns: the exit code; 1 without results if a training failed.

    Raises:
        UserError: the settings of a training are invalid, before any work.
        Stopped: SIGINT or SIGTERM arrived. All trainings have written a checkpoint.
    """
    trainings = flags.trainings()
    totals = {t.name: parse(t.task.name, t.flags).settings.total_timesteps for t in trainings}
    output = run_folder.locate(flags.output, Path())
    with StopSignals() as signals, locked(output):
        for training in trainings:
            _check_total(training, totals[training.name])
        missing = [t for t in trainings if not is_finished(t, totals[t.name])]
        print(f"{len(trainings)} trainings, {len(trainings) - len(missing)} already finished.")
        failed = train_all(missing, flags.jobs, signals)
        if failed:
            lines = "\n".join(f"  {t.name}: {t.log}" for t in failed)
            print(f"These trainings failed; see their logs:\n{lines}", file=sys.stderr)
            print("Repeat the command to retry them.", file=sys.stderr)
            return 1
        torch.set_num_threads(1)
        study = _measure(flags, trainings, totals)
        write_numbers(study, output)
        for path in [output / STUDY_FILE, output / TABLE_FILE, *draw_study(study, output)]:
            print(f"written  {path}")
    return 0


def _measure(flags: StudyFlags, trainings: Sequence[Training], totals: dict[str, int]) -> Study:
    n = flags.test_episodes
    transfers = [
        Transfer(algo, name, tuple(float(np.mean(play_tests(t, tested, n)[:n])) for t in group))
        for algo in flags.algos
        for name, (trained, tested) in TRANSFERS.items()
        if (group := [t for t in trainings if (t.algo, t.domain) == (algo, trained)])
    ]
    finished = [FinishedTraining(t.algo, t.domain, t.seed, t.folder) for t in trainings]
    return Study(finished, transfers, n, {t.algo: totals[t.name] for t in trainings})


def _check_total(training: Training, total_timesteps: int) -> None:
    """Raise UserError for a run that was trained for longer: the study would name another total."""
    value: Any = read_object(training.folder / CONFIG_FILE) or {}
    for key in ("config", "run", "settings", "total_timesteps"):
        value = value.get(key) if isinstance(value, dict) else None
    if isinstance(value, int) and value > total_timesteps:
        raise UserError(
            f"{training.folder} holds a training of {value:,} env steps, not {total_timesteps:,}. "
            "Give its --total_timesteps, or another --output."
        )


def is_finished(training: Training, total_timesteps: int) -> bool:
    """Return whether the run is finished: trained to the end, with an evaluated bundle."""
    if not (training.folder / METRICS_FILE).is_file():
        return False
    points = read_metrics(training.folder)
    return bool(
        points
        and max(point["step"] for point in points) >= total_timesteps
        and "final/evaluation_return" in points[-1]
    )


def train_all(trainings: Sequence[Training], jobs: int, signals: StopSignals) -> list[Training]:
    """Run trainings in at most `jobs` processes, and resume those already in their run folder.

    Returns: the failed trainings.

    Raises:
        Stopped: a signal arrived and all processes have ended.
    """
    progress = _PrintedProgress()
    with signals.held():
        run_jobs(
            *([job_of(training) for training in trainings], LocalWorkers(jobs), progress),
            retries=0,
            stops=lambda: signals.requested is not None,
        )
    return [training for training in trainings if training.name in progress.failed]


def job_of(training: Training) -> Job:
    """Return the job of a training, with one thread."""
    resumes = (training.folder / CONFIG_FILE).is_file()
    where = ("--env", training.task.name)
    command = [sys.executable, str(_SCRIPT), *where, *training.flags, "--threads", "1"]
    return Job(
        training.name,
        [*command, "--resume"] if resumes else command,
        log=training.log,
        environment={"OMP_NUM_THREADS": "1"},
    )


class _PrintedProgress:
    """Print the start and the end of each training, and record failures."""

    def __init__(self) -> None:
        self.failed: set[str] = set()

    def started(self, job: Job) -> None:
        print(f"started  {job.name}", flush=True)

    def ended(self, ended: Ended, *, again: bool, stopped: bool) -> None:
        fails = ended.failure is not None and not stopped
        if fails:
            self.failed.add(ended.job.name)
        print(f"{'FAILED' if fails else 'ended':8} {ended.job.name}", flush=True)


def play_tests(training: Training, domain: str, n_episodes: int) -> list[float]:
    """Return the returns of a trained policy's mode on the first evaluation seeds.

    They are cached in a file, which is valid as long as the policy is unchanged.
    """
    teacher = Teacher.load(training.folder / TEACHER)
    path, sha256 = training.test_file(domain), teacher.description.sha256
    identity = teacher.description.identity
    cached = _read_test(path)
    is_same = (cached.get("teacher_sha256"), cached.get("identity", identity)) == (sha256, identity)
    if is_same and len(cached["returns"]) >= n_episodes:
        return cached["returns"]
    env = make_state_env(f"CustomHopper-{domain}", min(_ENVS, n_episodes), 0)
    try:
        stats = run_episodes(
            policy_act(teacher), env, training.task, seeds.EVALUATION.start, n_episodes
        )
    finally:
        env.close()
    returns = stats.returns.tolist()
    head = {"teacher_sha256": sha256, "identity": identity, "first_seed": seeds.EVALUATION.start}
    write_json(path, {**head, "returns": returns, "lengths": stats.lengths.tolist()})
    print(f"tested   {training.name} in {domain}: {stats.returns.mean():.1f}", flush=True)
    return returns


def _read_test(path: Path) -> dict[str, Any]:
    try:
        return read_json(path, _MAX_JSON)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged: {error}. Delete it to repeat the test.") from error
