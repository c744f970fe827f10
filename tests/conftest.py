"""Settings and fixtures of the whole suite."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from Common import program
from Common.places import IN_CHECKOUT
from Distillation.command import main
from Evaluation.evaluate import latency
from tests.support.evaluated_run import write_rated_teacher, write_short_run
from tests.support.short_for import short_for
from tests.support.short_run import write_teacher

# The networks here are small: more threads than one only wait for each other, and on a busy
# machine for minutes.
torch.set_num_threads(1)
# A shell ignores SIGINT in its background jobs, and children inherit that. Some tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("cuda") is not None:
            item.add_marker(pytest.mark.skip(reason="there is no GPU"))


@pytest.fixture(autouse=True)
def commands_are_those_of_a_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """The console command changes how messages name commands, for the whole process."""
    monkeypatch.setattr(program, "_by_console", not IN_CHECKOUT)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Commands in this process set the threads of their flags."""
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_teacher(tmp_path_factory.mktemp("teacher"))


@pytest.fixture
def pusher(teacher: Path, tmp_path: Path) -> Callable[..., Path]:
    """Runs the script's `main` in this process; returns the run folder."""

    def run(*flags: str) -> Path:
        where = ("--teacher", str(teacher), "--output", str(tmp_path / "run"))
        main("Pusher", [*where, *short_for(*flags), "--wandb", "disabled", *flags])
        return tmp_path / "run"

    return run


@pytest.fixture(scope="session")
def rated_teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher whose blind student's return is known. Not to be written to."""
    return write_rated_teacher(tmp_path_factory.mktemp("rated_teacher"))


@pytest.fixture(scope="session")
def finished_run(rated_teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of that teacher. Not to be written to."""
    return write_short_run(tmp_path_factory.mktemp("finished") / "run", rated_teacher)


@pytest.fixture
def few_timed_actions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "_WARM_UP", 2)
    monkeypatch.setattr(latency, "_TIMED", 5)


@pytest.fixture
def bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processor has bfloat16; one that has none computes it all the same, slowly."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")


@pytest.fixture
def no_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processor has no bfloat16."""
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False)
