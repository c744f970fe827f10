"""Names and readers of a run's record: `config.json` and `metrics.jsonl`."""

from __future__ import annotations

import errno
import zlib
from pathlib import Path
from typing import Any

from Common.errors import UserError
from Common.files.bounded_read import parse_json, read_bounded

CONFIG_FILE = "config.json"
# Keys of every version, by which a folder is recognized as a run of this toolkit.
CONFIG_KEYS = frozenset({"config", "command", "versions", "teacher_sha256"})
METRICS_FILE = "metrics.jsonl"
PACKED_METRICS_FILE = "metrics.jsonl.gz"  # of a run that is kept as evidence
MAX_METRICS = 2**30  # bytes, unpacked
_GZIP = 16 + zlib.MAX_WBITS


def metrics_file(run_dir: Path | str) -> Path | None:
    """Return the path of a run's logging points, packed or not; None if it has none."""
    paths = (Path(run_dir) / name for name in (METRICS_FILE, PACKED_METRICS_FILE))
    return next((path for path in paths if path.is_file()), None)


def read_metrics(run_dir: Path | str) -> list[dict[str, Any]]:
    """Return the logging points of a run in the order of the file.

    An incomplete last line is left out: the run may still be writing it.

    Raises:
        UserError: `metrics.jsonl` is missing, or a line of it is not a logging point.
    """
    path = metrics_file(run_dir) or Path(run_dir) / METRICS_FILE
    try:
        content = read_bounded(path, MAX_METRICS)
        text = (_unpacked(content) if path.name == PACKED_METRICS_FILE else content).decode()
    except FileNotFoundError:
        raise UserError(f"{run_dir} holds no {METRICS_FILE}, so it is not a run folder.") from None
    except (OSError, UnicodeDecodeError, zlib.error) as error:
        raise UserError(f"{path} cannot be read: {error}.") from error
    points = []
    for number, line in enumerate(text[: text.rfind("\n") + 1].splitlines(), start=1):
        try:
            point = parse_json(line)
        except ValueError as error:
            raise UserError(f"{path}, line {number}, is not JSON: {error}.") from None
        if not isinstance(point, dict) or type(point.get("step")) is not int:
            raise UserError(f"{path}, line {number}, is not a logging point: it has no 'step'.")
        points.append(point)
    return points


def _unpacked(content: bytes) -> bytes:
    unpacking = zlib.decompressobj(_GZIP)
    text = unpacking.decompress(content, MAX_METRICS)
    if unpacking.unconsumed_tail:
        raise OSError(errno.EFBIG, f"unpacked, it is larger than {MAX_METRICS:,} bytes")
    if not unpacking.eof:
        raise OSError(errno.EIO, "it is incomplete")
    return text
