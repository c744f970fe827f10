"""The tables of docs/environments.md, made of the rows and of what `make test-envs` recorded."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.environments.rows import ROWS
from benchmarks.environments.steps import STUDENT_STEPS, TEACHER_STEPS
from Common.files.durable import write_file
from Common.places import ROOT

PAGE, RECORD = Path("docs/environments.md"), Path("Results/Environments/tried.json")
_AGENTS = {"sac": "SAC", "ppo": "PPO", "pictures": "SB3's PPO, of pictures"}
_RESULTS = "../Results/Environments/README.md"


def write_page() -> None:
    """Write the tables between the marks of the page."""
    text = (ROOT / PAGE).read_text()
    for mark, table in tables(json.loads((ROOT / RECORD).read_text())).items():
        pattern = re.compile(rf"(?s)(<!-- {mark} -->\n).*?(<!-- end -->)")
        text = pattern.sub(lambda match, table=table: match[1] + table + match[2], text)
    write_file(ROOT / PAGE, text.encode())


def tables(record: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the tables of the page by their marks.

    Args:
        record: figures of each row.
    """
    return {"environments": _environments(record), "flags": _flags()}


def _environments(record: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [
        f"| environment | teacher | the student sees | return of teacher and student, "
        f"{TEACHER_STEPS} and {STUDENT_STEPS} env steps | |",
        "|---|---|---|---|---|",
    ]
    for row in ROWS:
        about = f"learned: [{row.learned}]({_RESULTS}#{row.learned.lower()})" if row.learned else ""
        reached = _reached(record.get(row.name, {}))
        cells = (row.name, _AGENTS[row.teacher], row.sees, reached, about or row.note)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _reached(figures: Mapping[str, Any]) -> str:
    if not figures:
        return "not tried yet"
    if "failed" in figures:
        return f"fails: {figures['failed']}"
    return f"{figures['teacher_return']:.1f}, {figures['return']:.1f}"


def _flags() -> str:
    lines = ["| environment | packages | flags |", "|---|---|---|"]
    for row in ROWS:
        packages = "" if row.packages == "none" else f"`{row.packages}.txt`"
        lines.append(
            f"| {row.name} | {packages} | `{shlex.join((*row.environment, *row.frames))}` |"
        )
    return "\n".join(lines) + "\n"
