"""Results of the Hopper study's students, from finished runs: figures 4 to 6 and table 3.

`python Train_Teacher/Hopper.py --students RUNS... --output DIR` writes students.json, students.md,
figure4_sizes.png, figure5_test_return.png, and figure6_lambda_<size>.png per size with runs of
several lambdas.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from matplotlib.figure import Figure

from Common.errors import UserError
from Common.files.durable import write_file
from Evaluation.metrics import METRICS
from Evaluation.plots.comparison import draw_comparison, make_groups
from Evaluation.plots.picture import write_picture
from Evaluation.runs import Run, find_runs
from Evaluation.stats.estimates import Estimate, estimate
from Evaluation.stats.paper_numbers import SIZES
from Evaluation.table import Row, as_markdown, rows_of
from Evaluation.tool import print_note, write_json
from Train_Teacher.study.config import StudentsFlags
from Train_Teacher.study.domains import with_interval
from Train_Teacher.study.pictures import Bar, draw_bars

# Test returns of the study's PPD students and their teacher.
PAPER = {"teacher": 3399.49, "smaller": 3374.59, "same": 3391.71, "larger": 3397.43}
_METHODS = ("PPD", "PPO")
_STUDIED = ("size", "PPD_parameter")  # flags that the figures compare


@dataclass(frozen=True)
class Group:
    """Runs that only differ by their seeds."""

    method: str
    size: str
    distill_lambda: float | None  # None for PPO
    runs: tuple[Run, ...]

    def estimate(self, figure: Callable[[Run], float]) -> Estimate:
        """Return the mean of a metric over the runs with its bootstrap interval."""
        return estimate({"": self.values(figure)}, lambda scores: scores.mean(axis=-1))

    def values(self, figure: Callable[[Run], float]) -> list[float]:
        """Return a metric of each run."""
        return [figure(run) for run in self.runs]


def show_students(flags: StudentsFlags) -> None:
    """Write all figures and tables.

    Raises:
        UserError: there are no such runs, they are of several tasks or teachers, they differ by
            more than method, size, lambda and seed, or a file cannot be written.
    """
    if not flags.runs:
        raise UserError("Give run folders of Distillation/Hopper.py, or folders of them.")
    runs = choose_runs(find_runs(flags.runs))
    groups = group_runs(runs)
    shown = [g for g in groups if g.distill_lambda in (None, flags.distill_lambda)]
    if not any(group.method == "PPD" for group in shown):
        available = sorted({g.distill_lambda for g in groups if g.distill_lambda is not None})
        raise UserError(
            f"No PPD run here has --distill_lambda {flags.distill_lambda:g}; there are "
            f"{', '.join(f'{value:g}' for value in available) or 'none'}."
        )
    swept = [g for g in groups if len(_lambdas(groups, g.size)) > 1 and g.method == "PPD"]
    write_json(flags.output / "students.json", _describe(groups))
    write_file(flags.output / "students.md", table(shown, swept).encode())
    pictures = {"figure4_sizes.png": _curves(shown), "figure5_test_return.png": _bars(shown)}
    for size in dict.fromkeys(group.size for group in swept):
        of_size = [group for group in swept if group.size == size]
        pictures[f"figure6_lambda_{size}.png"] = _curves(of_size)
    if not swept:
        print_note(
            "figure 6 is left out: it needs PPD runs of one size and several --PPD_parameter."
        )
    for name, figure in pictures.items():
        write_picture(figure, flags.output / name)
    names = ", ".join(["students.json", "students.md", *pictures])
    print(f"written  {names} in {flags.output}")


def choose_runs(runs: Sequence[Run]) -> list[Run]:
    """Return the finished runs of the study's methods and sizes. Print the others to stderr.

    Raises:
        UserError: there is none, or the runs are of several tasks or teachers.
    """
    chosen = []
    for run in runs:
        reason = _reason_to_skip(run)
        if reason is None:
            chosen.append(run)
        else:
            print_note(f"left out: {run.folder} {reason}.")
    if not chosen:
        raise UserError("There is no finished run by --PPD or --PPO with --size.")
    for what, values in (
        ("tasks", {run.task: run.folder for run in chosen}),
        ("teachers", {run.teacher_sha256: run.folder for run in chosen if run.method == "PPD"}),
    ):
        if len(values) > 1:
            lines = "\n".join(f"  {str(value)[:16]}: {folder}" for value, folder in values.items())
            raise UserError(f"The runs are of several {what}. Name those of one:\n{lines}")
    return chosen


def _reason_to_skip(run: Run) -> str | None:
    if run.method not in _METHODS:
        return f"is by {run.method}"
    if run.config["student"].get("size") not in SIZES:
        return f"has none of the sizes {', '.join(SIZES)}"
    if run.figures is None:
        return "was cut short or is still running"
    if "teacher_return" not in run.figures and run.method == "PPD":
        return "has no teacher return"
    if run.config["training"].get("lambda_schedule", "constant") != "constant":
        return "has a lambda schedule"
    return None


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """Group runs by method, size and lambda, in the paper's order.

    Raises:
        UserError: runs of a method differ by other flags.
    """
    groups: dict[tuple[str, str, float | None], list[Run]] = {}
    for run in runs:
        weight = run.config["training"]["PPD_parameter"] if run.method == "PPD" else None
        groups.setdefault((run.method, run.config["student"]["size"], weight), []).append(run)
    for method in _METHODS:
        _check_alike(method, rows_of([run for run in runs if run.method == method]))
    order = sorted(groups, key=lambda key: (key[0], SIZES.index(key[1]), key[2] or 0.0))
    return [Group(*key, tuple(groups[key])) for key in order]


def _check_alike(method: str, rows: Sequence[Row]) -> None:
    for flag in rows[0].names if rows else ():
        examples = {row.names[flag]: row.runs[0].folder for row in rows}
        if flag not in _STUDIED and len(examples) > 1:
            folders = ", ".join(map(str, list(examples.values())[:2]))
            raise UserError(
                f"Runs by {method} differ by {flag}: {folders}. Name runs with the same value."
            )


def _lambdas(groups: Sequence[Group], size: str) -> set[float | None]:
    return {g.distill_lambda for g in groups if g.method == "PPD" and g.size == size}


def student_return(run: Run) -> float:
    """Return the mean return of the best student on evaluation seeds."""
    assert run.figures is not None  # `choose_runs`
    return run.figures["return"]


def teacher_return(run: Run) -> float:
    """Return the mean return of the teacher on the same seeds."""
    assert run.figures is not None  # `choose_runs`
    return run.figures["teacher_return"]


def _ratio(run: Run) -> float:
    return student_return(run) / teacher_return(run)


def _curves(groups: Sequence[Group]) -> Figure:
    runs = [run for group in groups for run in group.runs]
    figure, messages = draw_comparison(
        make_groups(rows_of(runs)), ["env_steps"], [METRICS["return"]]
    )
    for message in messages:
        print_note(message)
    return figure


def _bars(groups: Sequence[Group]) -> Figure:
    by_method = {method: [g for g in groups if g.method == method] for method in _METHODS}
    teachers = sorted({teacher_return(run) for run in by_method["PPD"][0].runs})
    teacher = Bar("teacher", teachers, Estimate(teachers[0]))
    panels = {
        f"{method}{'' if method == 'PPO' else f', lambda {of[0].distill_lambda:g}'}": [
            teacher,
            *(Bar(g.size, g.values(student_return), g.estimate(student_return)) for g in of),
        ]
        for method, of in by_method.items()
        if of
    }
    figures = by_method["PPD"][0].runs[0].figures or {}
    title = f"Return of {figures.get('episodes', 0):.0f} test episodes (mean over seeds, 95%)"
    return draw_bars(panels, title)


def _describe(groups: Sequence[Group]) -> dict[str, Any]:
    return {
        "paper": PAPER,
        "groups": [
            {
                "method": group.method,
                "size": group.size,
                "lambda": group.distill_lambda,
                "runs": [str(run.folder) for run in group.runs],
                "returns": group.values(student_return),
                "return": asdict(group.estimate(student_return)),
                "ratio_to_teacher": (
                    asdict(group.estimate(_ratio)) if _has_teacher_return(group) else None
                ),
                "env_steps": [run.last("time/env_steps") for run in group.runs],
            }
            for group in groups
        ],
    }


def _has_teacher_return(group: Group) -> bool:
    """Return whether all runs have the return of a teacher."""
    return all("teacher_return" in (run.figures or {}) for run in group.runs)


def table(shown: Sequence[Group], swept: Sequence[Group]) -> str:
    """Return the contents of `students.md`.

    Args:
        shown: groups of PPD with one lambda, and of PPO.
        swept: groups of PPD by size and lambda.
    """
    teacher = next(teacher_return(run) for g in shown if g.method == "PPD" for run in g.runs)
    known = {"student": "teacher", "return": f"{teacher:.1f}", "ratio to the teacher": "1"}
    papers = [PAPER["teacher"], *(PAPER[g.size] if g.method == "PPD" else None for g in shown)]
    rows = [
        {**row, "paper": "" if paper is None else f"{paper:.1f}"}
        for row, paper in zip(
            [dict.fromkeys(_row(shown[0]), "") | known, *map(_row, shown)], papers, strict=True
        )
    ]
    text = "Mean return of test episodes, over seeds (95% interval of the mean)\n\n"
    text += as_markdown(rows)
    return text + (f"\nBy lambda\n\n{as_markdown([*map(_row, swept)])}" if swept else "")


def _row(group: Group) -> dict[str, str]:
    steps = max(run.last("time/env_steps") or 0 for run in group.runs)
    return {
        "student": f"{group.method}, {group.size}",
        "lambda": "" if group.distill_lambda is None else f"{group.distill_lambda:g}",
        "seeds": str(len(group.runs)),
        "env steps": f"{steps:,.0f}",
        "return": with_interval(group.estimate(student_return), ".1f"),
        "ratio to the teacher": (
            with_interval(group.estimate(_ratio), ".3f") if _has_teacher_return(group) else ""
        ),
    }
