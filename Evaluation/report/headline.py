"""Which method wins, by how much, and how sure that is: in words that claim no more than it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from Evaluation.metrics import METRICS, Metric
from Evaluation.names import RowName
from Evaluation.report.rows import MEASURES, ReportRow, by_teacher, interval, typeset
from Evaluation.runs import FEWEST_EPISODES
from Evaluation.stats.estimates import Estimate, iqm, probability_of_improvement

Verdict = Literal["ahead", "not decided", "one run", "no rival"]

_RESAMPLES = 10_000
_FEW = 5  # runs of a method below which a bootstrap interval is known to be too narrow


@dataclass(frozen=True)
class Claim:
    """One comparison: students of one size that learned from one teacher."""

    where: str
    verdict: Verdict
    statement: str
    details: tuple[str, ...]
    weight: int  # runs that it rests on


def claims(rows: Sequence[ReportRow]) -> list[Claim]:
    """A claim for each teacher and size of a task's rows; the one on most runs first.

    What has no teacher (PPO) is compared where its skill is measured against the same teacher's
    return. A shipped student was chosen for being good, so it takes no part beside runs; neither
    does a run that was evaluated on a few episodes.
    """
    seeing = [row for row in rows if row.compared and not row.blind]
    seeing = [row for row in seeing if not row.shipped] or seeing
    found = []
    for teacher, of_teacher in by_teacher(seeing).items():
        for size in dict.fromkeys(row.name.size for row in of_teacher if row.teacher == teacher):
            own = [row for row in of_teacher if row.name.size == size]
            left_out = [row for row in rows if row.finished and row not in seeing]
            where = f"{size} students of {called(teacher)}"
            found.append(_claim(where, own, left_out))
    return sorted((claim for claim in found if claim is not None), key=lambda c: -c.weight)


def difference(x: np.ndarray, y: np.ndarray, level: float = 0.95) -> Estimate:
    """IQM of X minus IQM of Y, each `(runs,)`, and its percentile bootstrap interval over runs.

    Runs are drawn anew within X and within Y. No interval if either has one run alone.
    """
    value = float(iqm(x) - iqm(y))
    if min(len(x), len(y)) < 2:
        return Estimate(value)
    rng = np.random.default_rng(0)
    resampled = [iqm(s[rng.integers(len(s), size=(_RESAMPLES, len(s)))]) for s in (x, y)]
    ends = [50 * (1 - level), 50 * (1 + level)]
    low, high = np.percentile(resampled[0] - resampled[1], ends)
    return Estimate(value, float(low), float(high))


def called(teacher: str) -> str:
    """A teacher in words."""
    if teacher == "none":
        return "no teacher"
    return f"a teacher that is {teacher}" if teacher.startswith("not") else f"teacher {teacher}"


def _claim(where: str, rows: Sequence[ReportRow], left_out: Sequence[ReportRow]) -> Claim | None:
    measure = next((m for m in MEASURES if rows and all(len(row.scores(m)) for row in rows)), None)
    if measure is None:
        return None
    best: dict[str, ReportRow] = {}  # of each method; of one run only where it has no others
    for row in sorted(rows, key=lambda r: (len(r.compared) < 2, -r.values[measure.key].value)):
        best.setdefault(row.name.method, row)
    first, *others = sorted(best.values(), key=lambda row: -row.values[measure.key].value)
    weight = sum(len(row.compared) for row in rows)
    if not others:
        statement = f"{_full(first.name)} reaches {_score(first, measure)}."
        return Claim(where, "no rival", statement, _alone(first, left_out), weight)
    second = others[0]
    x, y = first.scores(measure), second.scores(measure)
    gap = difference(x, y)
    verdict, sureness = _sureness(first, second, gap, measure, x, y)
    scores = [typeset(measure.written(row.values[measure.key].value)) for row in (first, second)]
    verb = "beats" if verdict == "ahead" else "leads"
    statement = (
        f"{first.name.method} {verb} {second.name.method}: "
        f"{measure.title} {scores[0]} against {scores[1]}."
    )
    if scores[0] == scores[1]:
        names = f"{first.name.method} and {second.name.method}"
        statement = f"{names} are level: {measure.title} {scores[0]}."
    compared = (
        f"{_full(first.name)}: {_score(first, measure)}. "
        f"{_full(second.name)}: {_score(second, measure)}."
    )
    details = [compared, sureness, _costs(first, second)]
    if any(sum(row.name.method == m for row in rows) > 1 for m in best):
        details.append(
            "The best settings of each method are compared, chosen by these same figures: that "
            "flatters a method which was tried with more of them."
        )
    return Claim(where, verdict, statement, tuple(d for d in details if d), weight)


def _alone(first: ReportRow, left_out: Sequence[ReportRow]) -> tuple[str, ...]:
    """Why a method has no rival: who is here too, and takes no part."""
    lines = ["No other method has runs of this size and teacher here."]
    for shipped, why in (
        (True, "Shipped students take no part, since each was chosen for being good"),
        (False, f"Runs on fewer than {FEWEST_EPISODES} evaluation episodes take no part"),
    ):
        rows = [row for row in left_out if row.shipped == shipped and not row.blind]
        if methods := sorted({row.name.method for row in rows}):
            lines.append(f"{why}: {', '.join(methods)}.")
    return tuple(lines)


def _sureness(
    first: ReportRow,
    second: ReportRow,
    gap: Estimate,
    measure: Metric,
    x: np.ndarray,
    y: np.ndarray,
) -> tuple[Verdict, str]:
    names = first.name.method, second.name.method
    if gap.low is None or gap.high is None:
        single = [name for name, runs in zip(names, (x, y), strict=True) if len(runs) == 1]
        return "one run", (
            f"Of {' and '.join(single)} there is one run{' each' if len(single) > 1 else ''}, so "
            "nothing tells how much another seed would change: take no side yet."
        )
    chance = probability_of_improvement({"": x}, {"": y})
    text = (
        f"The difference is {typeset(measure.written(gap.value))} (95% interval "
        f"{interval(gap, measure)}, over {len(x)} and {len(y)} runs). "
        f"A run of {names[0]} scores higher than one of {names[1]} with "
        f"probability {chance.value:.2f}. "
    )
    if gap.low <= 0:
        return "not decided", text + "The interval includes 0: not decided."
    few = min(len(x), len(y)) < _FEW
    return "ahead", text + ("With so few runs such an interval is too narrow." if few else "")


def _costs(first: ReportRow, second: ReportRow) -> str:
    parts = []
    for metric in (METRICS["env_steps"], METRICS["gradient_steps"]):
        costs = [row.values.get(metric.key) for row in (first, second)]
        if costs[0] is not None and costs[1] is not None:
            against = " against ".join(metric.written(cost.value) for cost in costs if cost)
            parts.append(f"{against} {metric.title}")
    return f"Cost: {', '.join(parts)}." if parts else ""


def _full(name: RowName) -> str:
    return f"{name.method} ({', '.join(name.settings)})" if name.settings else name.method


def _score(row: ReportRow, measure: Metric) -> str:
    value = row.values[measure.key]
    text = f"{measure.title} {typeset(measure.written(value.value))}"
    ends = interval(value, measure)
    return f"{text} ({ends}, over {row.over})" if ends else text
