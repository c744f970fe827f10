"""Whatever is wrong in a file: it is read, or refused by a message. Never a traceback, a hang."""

from __future__ import annotations

from pathlib import Path

import pytest

from Common.errors import UserError
from tests.support.faults.formats import FORMATS, Format

# Mutants of each format; fewer where reading one takes some 50 ms or more.
_QUICK, _SOAK = 200, 5_000
_SLOW = {"student.json": 100, "config.json": 100, "flags, JSON": 25, "flags, YAML": 50, "grid": 50}
_SLOW |= {"checkpoint, state.json": 50}


def fuzz(format_: Format, seed: int, count: int) -> None:
    refused = 0
    for number, mutant in enumerate(format_.mutants(seed, count)):
        format_.put(mutant)
        try:
            format_.read()
        except UserError as error:
            refused += bool(str(error))
        except Exception as error:
            shown = mutant if len(str(mutant)) < 3000 else str(mutant)[:3000]
            raise AssertionError(f"mutant {number} of seed {seed}: {error!r}\n{shown}") from error
    assert refused


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("seed", "count"), [(0, _QUICK), pytest.param(1, _SOAK, marks=pytest.mark.soak)]
)
def test_a_mutant_is_read_or_refused(
    name: str, seed: int, count: int, finished_run: Path, tmp_path: Path
) -> None:
    count = min(count, _SLOW.get(name, count)) if seed == 0 else count
    fuzz(FORMATS[name](tmp_path, finished_run), seed, count)
