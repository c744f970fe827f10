"""What a check of the GPU found: kept as JSON while it goes on, and shown as Markdown."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


class SkippedError(Exception):
    """A part has nothing to check on this machine; says why."""


@dataclass
class Findings:
    """What one part has found so far; every change of it is written at once.

    Args:
        path: of its JSON file.
    """

    path: Path
    facts: dict[str, Any] = field(default_factory=dict)  # by what they are facts of
    rows: list[dict[str, Any]] = field(default_factory=list)  # of a table
    failures: list[str] = field(default_factory=list)

    def fact(self, name: str, value: Any) -> None:
        """Keep a figure or a sentence."""
        self.facts[name] = value
        print(f"  {name}: {shown(value)}", flush=True)
        self.write()

    def row(self, **values: Any) -> None:
        """Keep a row of the part's table."""
        self.rows.append(values)
        print("  " + ", ".join(f"{k} {shown(v)}" for k, v in values.items()), flush=True)
        self.write()

    def expect(self, holds: bool, what: str) -> None:
        """Keep that something does not hold; the part goes on, and fails at its end."""
        if not holds:
            self.failures.append(what)
            print(f"  FAILED: {what}", flush=True)
            self.write()

    def attempt(self, what: str, run: Callable[[], object]) -> None:
        """Run one piece of a part; its error is kept as a failure, and the others still run."""
        try:
            run()
        except Exception as error:
            self.expect(False, f"{what}: {type(error).__name__}: {error}")

    def write(self) -> None:
        """Bring the file up to date."""
        kept = {"facts": self.facts, "rows": self.rows, "failures": self.failures}
        write_json(self.path, kept)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a file, whole or not at all."""
    partial = path.with_name(f"{path.name}.tmp")
    partial.write_text(json.dumps(content, indent=1, default=str) + "\n")
    partial.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote; empty where there is no such file."""
    return json.loads(path.read_text()) if path.is_file() else {}


def shown(value: Any) -> str:
    """A value as a table shows it."""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {shown(v)}" for k, v in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value)) or "none"
    return str(value)


def write_report(folder: Path, card: str, report: Mapping[str, Any]) -> Path:
    """Write `<card>.json` and `<card>.md`; returns the second.

    Args:
        report: `machine`, facts of it by name, and `parts`, what became of each by its title.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = "".join(c if c.isalnum() or c in "._-" else "-" for c in card)
    write_json(folder / f"{name}.json", report)
    lines = [f"# {card}", "", f"`make gpu-check`, {time.strftime('%Y-%m-%d')}.", ""]
    lines += [f"- {name}: {shown(value)}" for name, value in report["machine"].items()]
    lines += ["", "| part | outcome | s |", "|---|---|---|"]
    for title, part in report["parts"].items():
        why = f": {part['why']}" if part.get("why") else ""
        lines.append(f"| {title} | {part['status']}{why} | {part['seconds']:.0f} |")
    for title, part in report["parts"].items():
        lines += ["", f"## {title}", "", *_details(part)]
    path = folder / f"{name}.md"
    path.write_text("\n".join(lines) + "\n")
    return path


def _details(part: Mapping[str, Any]) -> list[str]:
    lines = [f"- {name}: {shown(value)}" for name, value in part.get("facts", {}).items()]
    lines += [f"- **failed**: {_on_one_line(what)}" for what in part.get("failures", [])]
    rows = part.get("rows", [])
    if rows:
        columns = list(dict.fromkeys(name for row in rows for name in row))
        lines += ["", f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
        lines += [f"| {' | '.join(shown(row.get(c, '')) for c in columns)} |" for row in rows]
    if part.get("traceback"):
        lines += ["", "```", part["traceback"].rstrip(), "```"]
    return lines


def _on_one_line(text: str) -> str:
    return " ".join(text.split())
