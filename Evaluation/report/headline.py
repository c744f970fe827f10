"""Compare methods: which is better, by how much, and with which certainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from Evaluation.metrics import METRICS, Metric
from Evaluation.names import RowName
from Evaluation.report.rows import MEASURES, ReportRow, interval, typeset
from Evaluation.runs import FEWEST_EPISODES
from Evaluation.stats.estimates import difference, probability_of_improvement

Verdict = Literal["ahead", "not decided", "one run", "no rival"]

_SHOWN = ("skill", "ratio", "return", "success", "distance")  # figures of each method compared
_FEW = 5  # with fewer runs per method, bootstrap intervals are known to be too narrow


@dataclass(frozen=True)
class Claim:
    """A comparison of students of one size that learned from one teacher."""

    where: str
    verdict: Verdict
    statement: str
    details: tuple[str, ...]
    weight: int  # number of runs compared


def claims(rows: Sequence[ReportRow]) -> list[Claim]:
    """Return a claim per teacher and size of a task's rows, those with most runs first.

    Methods without a teacher (PPO) are compared if their skill refers to the same teacher's return.
    Shipped students are excluded if there are runs, since they were selected for their results.
    Runs evaluated on too few episodes are excluded too.
    """
    seeing = [row for row in rows if row.compared and not row.blind]
    seeing = [row for row in seeing if not row.shipped] or seeing
    found = []
    left_out = [row for row in rows if row.finished and row not in seeing]
    for teacher, size in dict.fromkeys((r.group, r.name.size) for r in seeing if r.taught):
        own = [row for row in seeing if (row.group, row.name.size) == (teacher, size)]
        where = f"{size} students of {teacher_phrase(teacher)}"
        found.append(_claim(where, own, left_out))
    return sorted((claim for claim in found if claim is not None), key=lambda c: -c.weight)


def teacher_phrase(teacher: str) -> str:
    """Return a teacher as a phrase of a sentence."""
    if teacher == "none":
        return "no teacher"
    return f"a teacher that is {teacher}" if teacher.startswith("not") else f"teacher {teacher}"


def _claim(where: str, rows: Sequence[ReportRow], left_out: Sequence[ReportRow]) -> Claim | None:
    measure = next((m for m in MEASURES if rows and all(len(row.scores(m)) for row in rows)), None)
    if measure is None:
        return None
    best: dict[str, ReportRow] = {}  # row by method; rows of a single run only without others
    for row in sorted(rows, key=lambda r: (len(r.compared) < 2, -r.values[measure.key].value)):
        best.setdefault(row.name.method, row)
    first, *others = sorted(best.values(), key=lambda row: -row.values[measure.key].value)
    weight = sum(len(row.compared) for row in rows)
    if not others:
        statement = f"{_full(first.name)} reaches {_score(first, measure)}."
        details = (_all_scores(first), *_alone(first, left_out))
        return Claim(where, "no rival", statement, details, weight)
    second = others[0]
    verdict, certainty = _certainty(first, second, measure)
    scores = [typeset(measure.written(row.values[measure.key].value)) for row in (first, second)]
    verb = "beats" if verdict == "ahead" else "leads"
    statement = (
        f"{first.name.method} {verb} {second.name.method}: "
        f"{measure.title} {scores[0]} against {scores[1]}."
    )
    if scores[0] == scores[1]:
        names = f"{first.name.method} and {second.name.method}"
        statement = f"{names} are level: {measure.title} {scores[0]}."
    details = [_all_scores(first), _all_scores(second), certainty]
    if any(sum(row.name.method == m for row in rows) > 1 for m in best):
        details.append(
            "The comparison uses the best settings of each method, selected by these same "
            "figures, which favours methods that were run with more settings."
        )
    return Claim(where, verdict, statement, tuple(details), weight)


def _alone(first: ReportRow, left_out: Sequence[ReportRow]) -> tuple[str, ...]:
    """Return why a method has no rival: which others are excluded."""
    lines = ["No other method has runs with this size and teacher."]
    for shipped, why in (
        (True, "Shipped students are excluded, since they were selected for their results"),
        (False, f"Runs with fewer than {FEWEST_EPISODES} evaluation episodes are excluded"),
    ):
        rows = [row for row in left_out if row.shipped == shipped and not row.blind]
        if methods := sorted({row.name.method for row in rows}):
            lines.append(f"{why}: {', '.join(methods)}.")
    return tuple(lines)


def _certainty(first: ReportRow, second: ReportRow, measure: Metric) -> tuple[Verdict, str]:
    names = first.name.method, second.name.method
    x, y = first.scores(measure), second.scores(measure)
    gap = difference(x, y)
    if gap.low is None or gap.high is None:
        single = [name for name, runs in zip(names, (x, y), strict=True) if len(runs) == 1]
        return "one run", (
            f"There is only one run{' each' if len(single) > 1 else ''} of "
            f"{' and '.join(single)}, so the variation between seeds is unknown. More runs are "
            "needed for a conclusion."
        )
    chance = probability_of_improvement({"": x}, {"": y})
    text = (
        f"The difference is {typeset(measure.written(gap.value))} (95% interval "
        f"{interval(gap, measure)}, over {len(x)} and {len(y)} runs). "
        f"A run of {names[0]} scores higher than one of {names[1]} with "
        f"probability {chance.value:.2f} ({chance.low:.2f} to {chance.high:.2f}). "
    )
    if gap.low <= 0:
        return "not decided", text + "The interval includes 0: not decided."
    few = min(len(x), len(y)) < _FEW
    return "ahead", text + ("With so few runs, intervals are too narrow." if few else "")


def _full(name: RowName) -> str:
    return f"{name.method} ({', '.join(name.settings)})" if name.settings else name.method


def _all_scores(row: ReportRow) -> str:
    """Return skill beside the absolute figures, each with its interval."""
    metrics = (METRICS[key] for key in _SHOWN)
    parts = [_score(row, metric) for metric in metrics if metric.key in row.values]
    return f"{_full(row.name)}: {', '.join(parts)}; {row.over or 'one run'}."


def _score(row: ReportRow, measure: Metric) -> str:
    value = row.values[measure.key]
    text = f"{measure.title} {typeset(measure.written(value.value))} {measure.unit}".strip()
    ends = interval(value, measure)
    return f"{text} ({ends})" if ends else text
