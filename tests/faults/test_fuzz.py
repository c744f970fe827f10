"""Whatever is wrong in a file: it is read, or refused by a message. Never a traceback, a hang."""

from __future__ import annotations

from pathlib import Path

import pytest

from Enviroment.errors import UserError
from tests.faults.formats import FORMATS, Format

_QUICK, _SOAK = 200, 20_000  # mutants of each format


def fuzz(format_: Format, seed: int, count: int) -> None:
    refused = 0
    for number, mutant in enumerate(format_.mutants(seed, count)):
        format_.put(mutant)
        try:
            format_.read()
        except UserError as error:
            refused += 1
            assert str(error)
        except Exception as error:
            shown = mutant if len(str(mutant)) < 3000 else str(mutant)[:3000]
            raise AssertionError(f"mutant {number} of seed {seed}: {error!r}\n{shown}") from error
    assert refused > 0 or count < 10


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("seed", "count"), [(0, _QUICK), pytest.param(1, _SOAK, marks=pytest.mark.soak)]
)
def test_a_mutant_is_read_or_refused(
    name: str, seed: int, count: int, finished_run: Path, tmp_path: Path
) -> None:
    fuzz(FORMATS[name](tmp_path, finished_run), seed, count)
