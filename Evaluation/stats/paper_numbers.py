"""Read the tables of the PPD paper (Spigler 2025, arXiv 2407.15134) from `paper/`."""

from __future__ import annotations

import csv
import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from Evaluation.stats.estimates import Estimate, geometric_iqm

TableNumber = Literal[1, 2, 5, 6, 7]

SIZES = ("smaller", "same", "larger")  # the student's network compared with the teacher's
TEACHER, CORRUPTED = "teacher", "corrupted teacher"
PROCGEN = "procgen-test"  # evaluated on test levels, as all our runs
ENV_STEPS = 2_000_000  # of every student
_FOLDER = Path(__file__).parent / "paper"
_FILES: dict[TableNumber, str] = {
    1: "table1_ratios.csv",
    2: "table6_imperfect_teachers.csv",
    5: "table5_scores.csv",
    6: "table6_imperfect_teachers.csv",
    7: "table7_ppo_baseline.csv",
}
_LARGER_ONLY = (2, 7)  # tables on larger students only
_NOT_A_METHOD = {
    "teacher": TEACHER,
    "original_teacher_score": TEACHER,
    "teacher_score": TEACHER,
    "corrupted_teacher": CORRUPTED,
}


class Place(NamedTuple):
    """The place of a number in a table; "" if it is not of a single environment or size."""

    suite: str
    env: str  # as `normalised`
    size: str
    what: str  # td, sd, ppd, ppo, or the teacher whose score it is


def normalised(env: str) -> str:
    """Return an environment's name in lower case, without version, punctuation and NoFrameskip."""
    plain = re.sub(r"-v\d+$", "", env).removesuffix("NoFrameskip")
    return re.sub(r"[^a-z0-9]", "", plain.lower())


def suite_of(env: str) -> str | None:
    """Return the suite of an environment in the paper, or None."""
    return _suites().get(normalised(env))


def human_normalised(env: str, score: float) -> float:
    """Return `(score - random) / (human - random)` of an Atari game, as in Badia et al. 2020.

    Raises:
        KeyError: the game is not in the paper.
    """
    random, human = _references()[normalised(env)]
    return (score - random) / (human - random)


@functools.cache
def paper_numbers(table: TableNumber) -> Mapping[Place, Estimate]:
    """Return a table of the paper.

    Table 2 is not in `paper/`. It is replaced by the geometric IQM per suite over the environments
    of table 6.
    """
    numbers = dict(_table_1() if table == 1 else _wide_table(table))
    if table != 2:
        return numbers
    ratios: dict[Place, list[float]] = {}
    for place, ratio in numbers.items():
        if place.what != TEACHER:  # which is a score, not a ratio
            ratios.setdefault(place._replace(env="", size=SIZES[-1]), []).append(ratio.value)
    return {
        place: Estimate(float(geometric_iqm(np.array(values)))) for place, values in ratios.items()
    }


def _table_1() -> Iterator[tuple[Place, Estimate]]:
    for row in _read(_FILES[1]):
        suite = PROCGEN if row["suite"] == "procgen" else row["suite"]
        low, high = float(row["ci_low"]), float(row["ci_high"])
        estimate = Estimate(float(row["ratio_to_teacher"]), low, high)
        yield Place(suite, "", row["size"], row["method"]), estimate


def _wide_table(table: TableNumber) -> Iterator[tuple[Place, Estimate]]:
    """Yield the numbers of a file with a column per size and method, such as `larger_ppd`."""
    for row in _read(_FILES[table]):
        env = normalised(row.get("env", ""))
        for column, text in row.items():
            if column in ("suite", "env") or "_ci_" in column:
                continue
            if column in _NOT_A_METHOD:
                size = SIZES[-1] if table in _LARGER_ONLY else ""
                what = _NOT_A_METHOD[column]
            else:
                size, what = column.split("_")
            low, high = row.get(f"{column}_ci_low"), row.get(f"{column}_ci_high")
            yield (
                Place(row["suite"], env, size, what),
                Estimate(float(text), float(low) if low else None, float(high) if high else None),
            )


@functools.cache
def _suites() -> dict[str, str]:
    # Test levels come after training levels, and replace them.
    return {normalised(row["env"]): row["suite"] for row in _read(_FILES[5])}


@functools.cache
def _references() -> dict[str, tuple[float, float]]:
    rows = _read("atari_reference_scores.csv")
    return {normalised(row["game"]): (float(row["random"]), float(row["human"])) for row in rows}


def _read(name: str) -> list[dict[str, str]]:
    with (_FOLDER / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
