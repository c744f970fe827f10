"""The card of a student."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from Algorithm.method_registry import METHODS
from Common.errors import UserError
from Common.files.bounded_read import read_object
from Common.runs.run_folder import FIGURES_FILE
from Enviroment import seeds
from Enviroment.observations import FRAME, PROPRIO, STATE, frame_channels
from Enviroment.task import RECORDED
from Evaluation.evaluate.subject import Subject
from Evaluation.metrics import ENDS, METRICS, by_columns, number
from Sharing.cards.card import CardRequest, measured, model_card, returns_result

_SIGHT, _ROBUSTNESS = "sight.json", "robustness.json"
_INDEXED = ("skill", "success", "distance")  # figures of the model-index besides the return


def student_card(subject: Subject, request: CardRequest) -> str:
    """Return the card of a student, from its bundle and the results beside it."""
    task, figures = subject.task, figures_of(subject)
    method = str(subject.description.get("method", ""))
    sees_frames = FRAME in subject.groups
    return model_card(
        "student",
        request,
        [*((task.env_id,) if task.env_id != RECORDED else ()), *_tags(subject, method)],
        _index(task.env_id, figures),
        {
            "task": task.name,
            "env_id": task.env_id,
            "is_recorded": task.env_id == RECORDED,
            "method": method,
            "video": request.address("replay.mp4") if request.has_picture else "",
            "sees": _sees(subject),
            "sees_frames": sees_frames,
            "needs_package": ":" in task.env_id,
            "call": _call(subject),
            "results": _table(figures),
            "episodes": int(figures.get("episodes", 0)),
            "seeds": _seeds(figures),
            "is_unseen": number(figures, "first_seed") in seeds.EVALUATION,
            "teacher_return": figures.get("teacher_return"),
            "blind_return": figures.get("blind_return"),
            "sight": _diagnostic(subject, _SIGHT).get("verdict", "") if sees_frames else "",
            "is_blind": subject.blind,
            "weak": _weak(_diagnostic(subject, _ROBUSTNESS)),
            "command": "" if subject.run is None else subject.run.command,
            "made": _made(subject, method),
            "sha256": subject.description["sha256"],
        },
    )


def figures_of(subject: Subject) -> dict[str, Any]:
    """Return the figures of the evaluation beside a student; empty if there is none."""
    return read_object(subject.folder / FIGURES_FILE) or {}


def _tags(subject: Subject, method: str) -> list[str]:
    is_game = subject.task.is_game
    return [*(() if is_game else ("robotics",)), *((method.lower(),) if method else ())]


def _index(env_id: str, figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the arguments of the model-index; none without a complete evaluation."""
    mean, std = number(figures, "return"), number(figures, "return_std")
    episodes, first = number(figures, "episodes"), number(figures, "first_seed")
    if mean is None or std is None or episodes is None or first is None:
        return []
    found = [returns_result(env_id, mean, std, int(episodes), int(first))]
    for key in _INDEXED:
        metric = METRICS[key]
        name = metric.evaluated_key(figures)
        value = number(figures, name)
        if value is not None and name is not None:
            rounded = round(value, 4)
            found.append(measured(env_id, name, metric.heading, rounded, int(episodes), int(first)))
    return found


def _table(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return title, value and 95% interval of each figure that an evaluation measured."""
    rows = []
    for metric in by_columns("report"):
        key = metric.evaluated_key(figures)
        value = number(figures, key)
        if value is None or key is None:
            continue
        ends = [number(figures, key + end) for end in ENDS]
        low, high = (None if end is None else metric.written(end) for end in ends)
        interval = f"{low} to {high}" if metric.has_interval and low and high else ""
        rows.append((metric.heading, metric.written(value), interval))
    return rows


def _seeds(figures: Mapping[str, Any]) -> str:
    episodes, first = number(figures, "episodes"), number(figures, "first_seed")
    if episodes is None or first is None:
        return ""
    return f"{int(first)} to {int(first + episodes) - 1}"


def _sees(subject: Subject) -> str:
    task, parts = subject.task, []
    if FRAME in subject.groups:
        h, w = task.frame_size
        views = ", ".join(view.title for view in task.camera_set.views())
        colour = "gray" if task.grayscale else "colour"
        stack = f"{task.stack} frames, {task.frame_interval} steps apart"
        stack = stack if task.stack > 1 else "one frame"
        parts.append(f"{h}x{w} {colour} pictures ({views}; {stack})")
    if PROPRIO in subject.groups:
        parts.append(f"{len(task.proprio_indices)} values of the robot's own joints")
    if STATE in subject.groups:
        parts.append("the state of the simulator")
    return " and ".join(parts)


def _call(subject: Subject) -> str:
    """Return the arguments of `Student.act` for an observation `obs` of one environment."""
    parts = []
    if FRAME in subject.groups:
        parts.append(f'obs["frame"][0, -{frame_channels(subject.task)}:]')
    if PROPRIO in subject.groups:
        parts.append('obs["proprio"][0]')
    if STATE in subject.groups:
        parts.append('state=obs["state"][0]')
    return ", ".join(parts)


def _made(subject: Subject, method: str) -> dict[str, str]:
    description, run = subject.description, subject.run
    trained = description.get("training", {})
    counts = METHODS[method].counts if method in METHODS else "steps"
    steps = number(trained, "steps")
    teacher = description.get("teacher", {}).get("sha256")
    return {
        "method": METHODS[method].title if method in METHODS else method or "unknown",
        "encoder": str(description["config"].get("mode", "")),
        "parameters": f"{description['parameters']:,}",
        **({} if steps is None else {counts: f"{steps:,.0f}"}),
        **({} if run is None else {"number of the run, which seeds it": str(run.run_index)}),
        **({} if teacher is None else {"teacher (SHA-256 of its weights)": teacher}),
    }


def _weak(robustness: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return what hurts most of each kind of change: its name, level and return."""
    found = []
    with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):  # another version
        for name, curve in robustness["curves"].items():
            worst = min(curve["levels"], key=lambda level: level["return"])
            level = f"{worst['level']:g} {curve['unit']}"
            found.append((name.replace("_", " "), level, f"{worst['return']:.1f}"))
    return found


def _diagnostic(subject: Subject, name: str) -> dict[str, Any]:
    """Return the results of a diagnostic; empty if they are missing or damaged."""
    with contextlib.suppress(UserError):
        return read_object(subject.diagnostics / name) or {}
    return {}
