"""Show the progress of a sweep: a live table or one line per event, and a final table."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.box import SIMPLE
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from Common.commands.jobs import Ended, Job
from Common.errors import UserError
from Common.files.bounded_read import parse_json, read_object
from Common.names import counted
from Common.runs.files import METRICS_FILE, read_metrics
from Common.runs.run_folder import FIGURES_FILE
from Evaluation.metrics import METRICS, number

State = Literal["waiting", "running", "again", "done", "done before", "failed", "stopped"]
_STYLES = {"running": "cyan", "done": "green", "done before": "green", "failed": "red bold"}
_SHOWN_FIRST = ("running", "failed", "again", "stopped", "done", "done before", "waiting")
_OTHER_LINES = 8  # lines of the terminal that the live table leaves free
_TAIL = 8192  # bytes at the end of the metrics that are searched for the last step
_MAX_REASON = 90  # shown characters of a reason


@dataclass
class _Line:
    folder: Path
    state: State = "waiting"
    attempts: int = 0
    seconds: float = 0.0  # over all attempts of this sweep
    started: float = 0.0
    failure: str = ""
    log: Path | None = None


class Board:
    """Display of a sweep (a `Common.commands.jobs.Watcher`).

    Args:
        folders: run folders by run name, in the order of the table.
        done: names of runs that were done before.
        console: output.
        clock: function that returns seconds.
    """

    def __init__(
        self,
        folders: Mapping[str, Path],
        done: Iterable[str],
        console: Console,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lines = {name: _Line(folder) for name, folder in folders.items()}
        for name in done:
            self._lines[name].state = "done before"
        self._console, self._clock = console, clock
        self._is_live = console.is_terminal

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the live table within the context, on a terminal."""
        if not self._is_live:
            yield
            return
        with Live(
            get_renderable=self._live_table,
            console=self._console,
            refresh_per_second=1,
            transient=True,
        ):
            yield

    def started(self, job: Job) -> None:
        """Record the start of an attempt."""
        line = self._lines[job.name]
        line.state, line.started, line.log = "running", self._clock(), job.log
        line.attempts += 1
        again = f" (attempt {line.attempts})" if line.attempts > 1 else ""
        self._print(f"started  {job.name}{again}")

    def ended(self, ended: Ended, *, again: bool, stopped: bool) -> None:
        """Record the end of an attempt."""
        line = self._lines[ended.job.name]
        line.seconds += self._clock() - line.started
        if ended.failure is None:
            line.state = "done"
            self._print(f"done     {ended.job.name} in {line.seconds:.0f} s  {self._counts()}")
            return
        line.state = "stopped" if stopped else "again" if again else "failed"
        last = ended.job.last_line()
        line.failure = f"{ended.failure}: {last}" if last else ended.failure
        later = ", will be retried" if again else ""
        self._print(f"{line.state:8} {ended.job.name} {line.failure[:_MAX_REASON]}{later}")

    def failures(self) -> list[str]:
        """Return one text per failed run: its last line of output and its log."""
        return [
            f"{name}: {line.failure}\n  log {line.log}"
            for name, line in self._lines.items()
            if line.state == "failed"
        ]

    def final_table(self) -> Table:
        """Return a table of all runs with state, time and results."""
        table = Table(title=self._counts(), title_justify="left", box=SIMPLE)
        table.add_column("run", overflow="fold")
        for name in ("state", "attempts", "seconds", "return", "ratio", "skill"):
            table.add_column(name, justify="left" if name == "state" else "right")
        for name, line in self._lines.items():
            seconds = line.seconds or _trained_seconds(line)
            cells = (str(line.attempts or ""), f"{seconds:.0f}" if seconds else "")
            table.add_row(escape(name), _styled_state(line.state), *cells, *_figures(line.folder))
        return table

    def _print(self, text: str) -> None:
        if not self._is_live:
            self._console.print(text, soft_wrap=True, highlight=False, markup=False)

    def _counts(self) -> str:
        counts = Counter(line.state for line in self._lines.values())
        total = counted(len(self._lines), "run")
        return f"{total}: " + ", ".join(
            f"{counts[s]} {s}" for s in reversed(_SHOWN_FIRST) if counts[s]
        )

    def _live_table(self) -> RenderableType:
        table = Table(box=None)
        for name in ("run", "state", "attempt", "seconds", "step"):
            table.add_column(name, justify="left" if name in ("run", "state") else "right")
        # Running and failed runs first, because a large grid does not fit the terminal.
        lines = sorted(self._lines.items(), key=lambda item: _SHOWN_FIRST.index(item[1].state))
        room = max(3, self._console.height - _OTHER_LINES)
        now = self._clock()
        for name, line in lines[:room]:
            seconds = line.seconds + (now - line.started if line.state == "running" else 0.0)
            step = _last_step(line.folder) if line.state == "running" else ""
            cells = (str(line.attempts or ""), f"{seconds:.0f}" if seconds else "", step)
            table.add_row(escape(name), _styled_state(line.state), *cells)
        rest = [Text(f"... and {len(lines) - room} more")] if len(lines) > room else []
        return Group(Text(self._counts()), table, *rest)


def _styled_state(state: State) -> Text:
    return Text(state, style=_STYLES.get(state, ""))


def _figures(folder: Path) -> tuple[str, str, str]:
    """Return the return, the ratio to the teacher and the skill of a run, as far as known.

    The ratio is left out for negative returns, where it has no meaning.
    """
    try:
        figures = read_object(folder / FIGURES_FILE) or {}
    except UserError:  # a damaged file costs its figures only
        figures = {}
    value, teacher, skill = (number(figures, key) for key in ("return", "teacher_return", "skill"))
    if value is None:
        return "", "", ""
    ratio = ""
    if teacher is not None and teacher > 0 and value >= 0:
        ratio = METRICS["ratio"].written(value / teacher)
    skill_text = "" if skill is None else METRICS["skill"].written(skill)
    return METRICS["return"].written(value), ratio, skill_text


def _trained_seconds(line: _Line) -> float:
    """Return the recorded training time of a run that was done before."""
    if line.state != "done before" or not (line.folder / METRICS_FILE).is_file():
        return 0.0
    points = read_metrics(line.folder)
    return next((p["time/seconds"] for p in reversed(points) if "time/seconds" in p), 0.0)


def _last_step(folder: Path) -> str:
    """Return the last step, read from the end of the metrics because it is polled."""
    try:
        with (folder / METRICS_FILE).open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _TAIL))
            lines = file.read().splitlines()
    except OSError:
        return ""
    for text in reversed(lines):
        try:
            return f"{parse_json(text)['step']:,}"
        except (ValueError, KeyError, TypeError):  # a truncated line at either end
            continue
    return ""
