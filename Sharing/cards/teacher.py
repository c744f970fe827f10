"""The card of a teacher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from Common.files.typed_json import typed
from Enviroment import seeds
from Enviroment.tasks import TASKS, Task, script_of
from Evaluation.evaluate.episodes import mean_interval
from Models.teacher.policy import Teacher
from Sharing.cards.card import CardRequest, measured, model_card, returns_result

_JUDGED = "evaluation"  # the set of seeds that results are published on
_SELF = "teacher"


def teacher_card(teacher: Teacher, notes: Mapping[str, Any], request: CardRequest) -> str:
    """Return the card of a teacher.

    Args:
        notes: the whole of its `teacher.json`.
    """
    description = teacher.description
    task = TASKS.get(description.task)
    env_id = task.env_id if task is not None else description.task
    returns = description.baselines.get(_SELF, {}).get(_JUDGED, [])
    first = _first_seed(notes)
    known = len(returns) > 0 and first is not None and bool(env_id)
    return model_card(
        "teacher",
        request,
        _tags(env_id, task, description.algo),
        _index(teacher, env_id, first or 0) if known else [],
        {
            "task": description.task or "an environment of its author",
            "env_id": env_id,
            "algo": description.algo.upper(),
            "video": request.address("replay.mp4") if request.has_picture else "",
            "sees": f"{description.state_dim} numbers of the simulator's state"
            if not description.observation
            else f"{description.observation_space}",
            "sees_frames": any(group.is_image for group in description.observation),
            "actions": str(description.action_space),
            "results": _table(teacher),
            "imitability": str(description.imitability or ""),
            "seeds": "" if first is None else f"{first} to {first + len(returns) - 1}",
            "command": description.command if description.command != "none" else "",
            "versions": ", ".join(f"{name} {v}" for name, v in description.versions.items()),
            "is_unseen": first in seeds.EVALUATION,
            "is_gymnasium": bool(env_id) and (task is None or not task.is_game),
            "corruption": description.corruption_sigma,
            "script": "" if task is None else script_of(task),
            "sha256": description.sha256,
        },
    )


def _tags(env_id: str, task: Task | None, algo: str) -> list[str]:
    is_game = task is not None and task.is_game
    return [*((env_id,) if env_id else ()), *(() if is_game else ("robotics",)), algo.lower()]


def _first_seed(notes: Mapping[str, Any]) -> int | None:
    """Return the first seed of the returns; None if the bundle does not hold it."""
    try:
        return typed(dict[str, tuple[int, ...]], notes["seeds"], "seeds")[_JUDGED][0]
    except (KeyError, IndexError, ValueError):
        return None


def _index(teacher: Teacher, env_id: str, first: int) -> list[dict[str, Any]]:
    returns = teacher.description.baselines[_SELF][_JUDGED]
    mean, std = float(np.mean(returns)), float(np.std(returns))
    found = [returns_result(env_id, mean, std, len(returns), first)]
    successes = teacher.description.successes.get(_SELF, {}).get(_JUDGED)
    if successes:
        rate = round(float(np.mean(successes)), 4)
        found.append(measured(env_id, "success", "success", rate, len(successes), first))
    return found


def _table(teacher: Teacher) -> list[tuple[str, str, str, int]]:
    """Return policy, mean return, its 95% interval, and episodes, on evaluation seeds."""
    rows = []
    for policy, by_seeds in teacher.description.baselines.items():
        returns = np.asarray(by_seeds.get(_JUDGED, []), np.float64)
        if len(returns):
            low, high = mean_interval(returns)
            row = (policy, f"{returns.mean():.2f}", f"{low:.2f} to {high:.2f}", len(returns))
            rows.append(row)
    return rows
