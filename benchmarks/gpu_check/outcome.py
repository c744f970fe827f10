"""Record the findings of a GPU check as JSON, and report them as Markdown."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


class SkippedError(Exception):
    """Raised by a part that does not apply to this machine, with the reason."""


@dataclass
class Findings:
    """The findings of a part, written to a file after every change.

    Args:
        path: path of the JSON file.
    """

    path: Path
    facts: dict[str, Any] = field(default_factory=dict)  # by name
    rows: list[dict[str, Any]] = field(default_factory=list)  # of a table
    failures: list[str] = field(default_factory=list)

    def fact(self, name: str, value: Any) -> None:
        """Record a figure or a sentence."""
        self.facts[name] = value
        print(f"  {name}: {shown(value)}", flush=True)
        self.write()

    def row(self, **values: Any) -> None:
        """Record a row of the part's table."""
        self.rows.append(values)
        print("  " + ", ".join(f"{k} {shown(v)}" for k, v in values.items()), flush=True)
        self.write()

    def expect(self, holds: bool, what: str) -> None:
        """Record a failure unless a condition holds; the part continues and fails at its end."""
        if not holds:
            self.failures.append(what)
            print(f"  FAILED: {what}", flush=True)
            self.write()

    def attempt(self, what: str, run: Callable[[], object]) -> None:
        """Run a step of a part, and record its error as a failure, so that others still run."""
        try:
            run()
        except Exception as error:
            self.expect(False, f"{what}: {type(error).__name__}: {error}")

    def write(self) -> None:
        """Write the findings to the file."""
        kept = {"facts": self.facts, "rows": self.rows, "failures": self.failures}
        write_json(self.path, kept)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file atomically."""
    partial = path.with_name(f"{path.name}.tmp")
    partial.write_text(json.dumps(content, indent=1, default=str) + "\n")
    partial.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """Read a file of `write_json`; return an empty dictionary if it does not exist."""
    return json.loads(path.read_text()) if path.is_file() else {}


def shown(value: Any) -> str:
    """Return a value as text."""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {shown(v)}" for k, v in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value)) or "none"
    return str(value)


def write_report(folder: Path, card: str, report: Mapping[str, Any]) -> Path:
    """Write `<card>.json` and `<card>.md`, and return the path of the latter.

    Args:
        report: `machine`, facts by name, and `parts`, outcomes by title.
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
