"""Runs whose environments are stepped and drawn by processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from Common.errors import UserError
from Distillation.command import main
from Distillation.flags.parse import parse
from Enviroment.simulation.processes import ProcessWorkers
from Enviroment.tasks import get_task
from tests.support.short_run import SHORT, outcome


@pytest.mark.parametrize("mode", ["State", pytest.param("ImpaalaSmall", marks=pytest.mark.slow)])
def test_processes_train_the_same_student_as_threads(mode, teacher, tmp_path, monkeypatch):
    started = []

    class Watched(ProcessWorkers):
        def __init__(self, *args) -> None:
            super().__init__(*args)
            started.append(len(self.parts))

    monkeypatch.setattr("Enviroment.simulation.workers.ProcessWorkers", Watched)

    def train(kind: str) -> Path:
        where = ("--teacher", str(teacher), "--output", str(tmp_path / kind), "--wandb", "disabled")
        main("Pusher", ["--PPD", "--mode", mode, *SHORT, *where, "--workers", kind])
        return tmp_path / kind

    threads = outcome(train("thread"))
    assert not started
    assert outcome(train("process")) == threads
    assert started  # for training, and for evaluation


def test_games_have_threads_of_their_own():
    with pytest.raises(UserError, match="--workers process: Pong runs in EnvPool's own threads"):
        parse(get_task("Pong"), ["--PPD", "--mode", "ImpaalaMid", "--workers", "process"])
