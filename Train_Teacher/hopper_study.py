"""`Train_Teacher/Hopper.py --study`: trainings in every domain, tests across them, figures, table.

OUTPUT/runs/<algorithm>/<domain>_<seed>/   run folders, with the policies' bundles in teacher/
OUTPUT/logs/                               what each of them printed
OUTPUT/tests/                              the returns of each test
OUTPUT/study.json table.md figure1_*.png figure2_*.png figure3_*.png
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from Enviroment import seeds
from Enviroment.bounded_read import read_bounded
from Enviroment.errors import UserError
from Enviroment.folder_lock import locked
from Enviroment.make import make_state_env
from Enviroment.signals import StopSignals
from Evaluation import run_folder
from Evaluation.evaluate import policy_act, run_episodes
from Evaluation.hopper_domains import (
    STUDY_FILE,
    TABLE_FILE,
    Learning,
    Study,
    Transfer,
    write_numbers,
)
from Evaluation.hopper_pictures import draw_study
from Evaluation.run_folder import TEACHER
from Evaluation.tool import write_json
from Evaluation.tracking import CONFIG_FILE, METRICS_FILE, read_metrics
from Models.teacher import Teacher
from Train_Teacher.hopper_config import TRANSFERS, StudyFlags, Training
from Train_Teacher.train import parse

_SCRIPT = Path(__file__).with_name("Hopper.py")
_ENVS = 10  # of a test
_MAX_JSON = 2**22  # bytes
_POLL_SECONDS = 0.2


def run_study(flags: StudyFlags) -> int:
    """Trains what is not trained yet, tests what is not tested yet, and writes the study.

    Returns: the exit code, 1 where a training failed; then there is no study.

    Raises:
        UserError: before any work, for settings that a training would refuse.
        Stopped: by SIGINT or SIGTERM, its trainings with it, each with a checkpoint.
    """
    trainings = flags.trainings()
    totals = {t.name: parse(t.task.name, t.flags).settings.total_timesteps for t in trainings}
    output = run_folder.locate(flags.output, Path())
    with StopSignals() as signals, locked(output):
        missing = [t for t in trainings if not is_finished(t, totals[t.name])]
        print(f"{len(trainings)} trainings, {len(trainings) - len(missing)} of them finished.")
        failed = train_all(missing, flags.jobs, signals)
        if failed:
            lines = "\n".join(f"  {t.name}: {t.log}" for t in failed)
            print(f"These trainings failed, their logs say why:\n{lines}", file=sys.stderr)
            print("The same command tries them again.", file=sys.stderr)
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
    learnings = [Learning(t.algo, t.domain, t.seed, t.folder) for t in trainings]
    return Study(learnings, transfers, n, {t.algo: totals[t.name] for t in trainings})


def is_finished(training: Training, total_timesteps: int) -> bool:
    """Whether the run got to its end: the bundle of all its steps was written and measured."""
    if not (training.folder / METRICS_FILE).is_file():
        return False
    points = read_metrics(training.folder)
    return bool(
        points
        and max(point["step"] for point in points) >= total_timesteps
        and "final/evaluation_return" in points[-1]
    )


def train_all(trainings: Sequence[Training], jobs: int, signals: StopSignals) -> list[Training]:
    """Runs trainings in at most so many processes; a run folder that holds one goes on.

    Returns: those that failed.

    Raises:
        Stopped: once a signal came and all processes have ended.
    """
    waiting, failed, asked = deque(trainings), [], False
    running: dict[subprocess.Popen[bytes], Training] = {}
    with signals.held():
        try:
            while running or waiting:
                if signals.requested is not None and not asked:
                    asked = True
                    waiting.clear()
                    for process in running:
                        process.terminate()  # once: it writes a checkpoint first
                while waiting and len(running) < jobs:
                    training = waiting.popleft()
                    print(f"begins   {training.name}", flush=True)
                    running[launch(training)] = training
                time.sleep(_POLL_SECONDS)
                for process in [p for p in running if p.poll() is not None]:
                    training = running.pop(process)
                    how = "FAILED" if process.returncode and not asked else "ends"
                    print(f"{how:8} {training.name}", flush=True)
                    if process.returncode:
                        failed.append(training)
        finally:
            for process in running:
                process.kill()
    return failed


def launch(training: Training) -> subprocess.Popen[bytes]:
    """A process of its own, in a session of its own: Ctrl-C reaches it through this one, once."""
    resumes = (training.folder / CONFIG_FILE).is_file()
    where = ("--env", training.task.name)
    command = [sys.executable, str(_SCRIPT), *where, *training.flags, "--threads", "1"]
    training.log.parent.mkdir(parents=True, exist_ok=True)
    with training.log.open("ab") as log:
        return subprocess.Popen(
            [*command, "--resume"] if resumes else command,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def play_tests(training: Training, domain: str, n_episodes: int) -> list[float]:
    """The returns of a finished training's policy on the first evaluation seeds.

    It acts by its mode. They are kept in a file, which counts as long as the policy is the same.
    """
    teacher = Teacher.load(training.folder / TEACHER)
    path, sha256 = training.test_file(domain), teacher.description.sha256
    kept = _read_test(path)
    if kept.get("teacher_sha256") == sha256 and len(kept["returns"]) >= n_episodes:
        return kept["returns"]
    env = make_state_env(f"CustomHopper-{domain}", min(_ENVS, n_episodes), 0)
    try:
        stats = run_episodes(
            policy_act(teacher), env, training.task, seeds.EVALUATION.start, n_episodes
        )
    finally:
        env.close()
    returns = stats.returns.tolist()
    head = {"teacher_sha256": sha256, "first_seed": seeds.EVALUATION.start}
    write_json(path, {**head, "returns": returns, "lengths": stats.lengths.tolist()})
    print(f"tested   {training.name} in {domain}: {stats.returns.mean():.1f}", flush=True)
    return returns


def _read_test(path: Path) -> dict[str, Any]:
    try:
        return json.loads(read_bounded(path, _MAX_JSON))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}. Delete it, to test anew.") from error
