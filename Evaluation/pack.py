"""`python -m Evaluation.pack RUNS... --output FOLDER`: keep the record of runs, without weights.

Tables, curves, statistics and the report read a packed run like any other. A run of some minutes
takes about 10 kB: its settings, its figures and its compressed metrics.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from os.path import commonpath
from pathlib import Path
from typing import Annotated, Any

import tyro

from Common.commands.exits import print_line
from Common.errors import UserError
from Common.files.bounded_read import MAX_JSON, parse_json, read_bounded
from Common.files.durable import publishing, write_file, writing
from Common.names import counted
from Common.runs.files import CONFIG_FILE, PACKED_METRICS_FILE
from Common.runs.run_folder import FIGURES_FILE
from Evaluation.runs import Run, find_runs
from Evaluation.tool import run_tool


@dataclass(frozen=True)
class PackFlags:
    """Copy the settings, figures and compressed metrics of runs, to keep them as evidence."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]  # run folders, or folders of them
    output: Path  # new folder, in which runs keep their places below the folder common to all


def pack_runs(flags: PackFlags) -> None:
    """Write the packed runs.

    Raises:
        UserError: the output exists or cannot be written, there is no run, or a run is not
            finished.
    """
    if flags.output.exists():
        raise UserError(f"--output {flags.output} exists. Delete it, or give another folder.")
    runs = find_runs(flags.runs)
    unfinished = [str(run.folder) for run in runs if run.figures is None]
    if unfinished:
        raise UserError(
            f"Without a final evaluation: {', '.join(unfinished)}. Finish these runs with "
            "--resume, or leave them out."
        )
    folders = [run.folder.resolve() for run in runs]
    root = Path(commonpath(folders)) if len(runs) > 1 else folders[0].parent
    with writing(f"--output {flags.output}"), publishing(flags.output) as made:
        for run, folder in zip(runs, folders, strict=True):
            _pack(run, made / folder.relative_to(root), root)
    print_line(f"{counted(len(runs), 'run')} in {flags.output}")


def _pack(run: Run, folder: Path, root: Path) -> None:
    folder.mkdir(parents=True)
    places = _places(run, root)
    for name in (CONFIG_FILE, FIGURES_FILE):
        content = read_bounded(run.folder / name, MAX_JSON)
        value = parse_json(content)
        changed = _of_others(value, places)
        if changed != value:  # else the same bytes
            content = (json.dumps(changed, indent=2) + "\n").encode()
        write_file(folder / name, content)
    lines = "".join(json.dumps(point) + "\n" for point in run.metrics)
    # Without a time, so that the same run gives the same bytes.
    write_file(folder / PACKED_METRICS_FILE, gzip.compress(lines.encode(), mtime=0))


def _places(run: Run, root: Path) -> dict[str, str]:
    """Return folders of this machine, and the paths that others get in their place.

    Where the runs lay is of no use to others: paths begin at the common folder, unless that is `/`.
    """
    if root == Path(root.anchor):
        return {}
    places = {str(root): ""}
    written_to = str((run.config.get("run") or {}).get("output"))
    if Path(written_to).is_absolute():  # elsewhere, if the run was moved since
        moved = str(Path(written_to))  # without a slash at its end
        places = {moved: run.folder.resolve().relative_to(root).as_posix(), **places}
    return places


def _of_others(value: Any, places: Mapping[str, str], key: str = "") -> Any:
    """Return JSON with other places in strings that are paths, and in the words of commands."""
    if isinstance(value, dict):
        return {name: _of_others(item, places, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_of_others(item, places) for item in value]
    if not isinstance(value, str):
        return value
    if key != "command":
        return _moved(value, places)
    with contextlib.suppress(ValueError):  # no words of a shell
        words = shlex.split(value)
        changed = [_moved_word(word, places) for word in words]
        return value if changed == words else shlex.join(changed)
    return value


def _moved_word(word: str, places: Mapping[str, str]) -> str:
    flag, equals, path = word.partition("=")
    if equals and flag.startswith("-"):
        return f"{flag}={_moved(path, places)}"
    return _moved(word, places)


def _moved(path: str, places: Mapping[str, str]) -> str:
    """Return the new path of a place, or of what lies below one; any other text as it is."""
    for place, new in places.items():
        if path == place or path.startswith(f"{place}/"):
            below = path.removeprefix(place).lstrip("/")
            return "/".join(part for part in (new, below) if part) or "."
    return path


def main() -> None:
    """Run the command. Invalid input ends it with exit code 2 and one message on stderr."""
    run_tool(PackFlags, "Evaluation.pack", pack_runs)


if __name__ == "__main__":
    main()
