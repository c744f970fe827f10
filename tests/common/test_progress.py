"""Every tool shows how far it is, and training's evaluations do not."""

from __future__ import annotations

import io
import os
import signal
import sys
from dataclasses import dataclass

import numpy as np
import pytest

from Common.commands import progress
from Common.commands.exits import exit_with_message
from Common.commands.progress import progress_shown, tracked
from Enviroment.make import make_state_env
from Evaluation.evaluate.episodes import do_nothing, run_episodes
from Evaluation.tool import run_tool
from Evaluation.video import play


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def use_terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Not a fixture: before the test itself, pytest puts a stream of its own there."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


@dataclass(frozen=True)
class Nothing:
    """Flags of a tool that has none."""


def evaluate(_: object = None) -> None:
    env = make_state_env("Reacher", 2, 0)
    act = do_nothing(env.action_space)
    stats = run_episodes(act, env, env.task, 0, 3)
    assert stats.lengths.tolist() == [50, 50, 50]
    assert len(play(act, env, env.task, 5).rewards) == 50
    env.close()


def test_a_tool_shows_a_bar_on_a_terminal(monkeypatch):
    terminal = use_terminal(monkeypatch)
    monkeypatch.setattr(sys, "argv", ["tool"])
    run_tool(Nothing, "Evaluation.tool", evaluate)
    shown = terminal.getvalue()
    assert "0/3" in shown and "episodes" in shown and "playing" in shown


def test_a_signal_ends_a_tool_with_a_message(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tool"])
    with pytest.raises(SystemExit) as ended:
        run_tool(Nothing, "Evaluation.tool", lambda _: os.kill(os.getpid(), signal.SIGINT))
    assert ended.value.code == 130
    assert "Stopped by SIGINT." in capsys.readouterr().err


def test_ctrl_c_ends_commands_without_handlers_too(capsys):
    with pytest.raises(SystemExit) as ended, exit_with_message("Repeat it."):
        raise KeyboardInterrupt
    assert ended.value.code == 130
    assert capsys.readouterr().err == "\nStopped by SIGINT. Repeat it.\n"


def test_a_tool_prints_lines_elsewhere(capsys, monkeypatch):
    """With no time between two lines: one after each of 100 steps of 3 episodes in 2 workers."""
    monkeypatch.setattr(progress, "LINE_INTERVAL", 0.0)
    with progress_shown():
        evaluate()
    lines = capsys.readouterr().err.splitlines()
    done = [int(line.split()[0]) for line in lines[:100]]
    assert done == [0] * 49 + [2] * 50 + [3]
    assert lines[99] == "3 of 3 episodes"
    assert lines[100:] == [f"playing: {step} env steps" for step in range(1, 51)]


def test_outside_of_tools_nothing_is_shown(monkeypatch):
    terminal = use_terminal(monkeypatch)
    evaluate()
    assert list(tracked(range(3), 3, "things")) == [0, 1, 2]
    assert terminal.getvalue() == ""


def test_what_is_tracked_comes_out_unchanged():
    with progress_shown():
        items = list(tracked(iter(np.arange(5)), 5, "things", "doing"))
    assert items == [0, 1, 2, 3, 4]
