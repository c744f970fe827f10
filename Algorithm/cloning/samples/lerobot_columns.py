"""Read recorded steps by the names that LeRobot gives them.

https://huggingface.co/docs/lerobot describes the format. Data is a dictionary of columns, or steps
by index, as in a `LeRobotDataset`. LeRobot itself is not needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from Common.errors import UserError
from Common.names import nearest

_PICTURES, _PICTURE = "observation.images.", "observation.image"
_STATE, _ACTION = "observation.state", "action"
_EPISODE, _STEP = "episode_index", "frame_index"


def read_lerobot(
    data: Any, camera: str | None, convert: Callable[[Any], np.ndarray]
) -> dict[str, Any]:
    """Return the arguments `frames`, `proprio`, `actions` and `episode_ends` of `ArraySamples`.

    Args:
        data: see `ArraySamples.from_lerobot`.
        camera: name of the camera, with or without `observation.images.`.
        convert: returns a picture as a frame; called once per step.

    Raises:
        UserError: a column or camera is missing, or steps are missing in an episode.
    """
    first = data if isinstance(data, Mapping) else _first_step(data)
    pictures = _camera_column(first, camera)
    wanted = [_ACTION, _EPISODE, *(name for name in (_STATE, _STEP) if name in first)]
    if missing := [name for name in wanted if name not in first]:
        raise UserError(f"The data has no {' and no '.join(missing)}, only {', '.join(first)}.")
    frames: list[np.ndarray] = []
    if isinstance(data, Mapping):
        frames = [convert(picture) for picture in data[pictures]]
        columns = {name: np.asarray(data[name]) for name in wanted}
    else:
        values: dict[str, list[Any]] = {name: [] for name in wanted}
        for step in _steps(data):  # one at a time: decoded pictures are large
            frames.append(convert(step[pictures]))
            for name in wanted:
                values[name].append(np.asarray(step[name]))
        columns = {name: np.stack(rows) for name, rows in values.items()}
    episodes = columns[_EPISODE].reshape(-1)
    _check_order(episodes, columns.get(_STEP))
    return {
        "frames": np.stack(frames),
        "proprio": columns.get(_STATE),
        "actions": columns[_ACTION],
        "episode_ends": np.append(episodes[1:] != episodes[:-1], True),
    }


def _first_step(data: Any) -> Mapping[str, Any]:
    step = data[0] if len(data) else None
    if not isinstance(step, Mapping):
        raise UserError("Give a dictionary of columns, or a dataset whose steps are dictionaries.")
    return step


def _steps(data: Any) -> Iterator[Mapping[str, Any]]:
    return (data[index] for index in range(len(data)))


def _camera_column(columns: Mapping[str, Any], camera: str | None) -> str:
    """Return the name of the column of pictures."""
    found = {name.removeprefix(_PICTURES): name for name in columns if name.startswith(_PICTURES)}
    if _PICTURE in columns:
        found[_PICTURE] = _PICTURE
    if not found:
        raise UserError(
            f"The data has no pictures, `{_PICTURES}<camera>` or `{_PICTURE}`, only "
            f"{', '.join(columns)}."
        )
    if camera is None:
        if len(found) > 1:
            raise UserError(f"The data has several cameras. Give `camera`: {' or '.join(found)}.")
        return next(iter(found.values()))
    name = camera.removeprefix(_PICTURES)
    if name not in found:
        raise UserError(f"`camera` {camera!r} is not in the data. Is it {nearest(name, found)}?")
    return found[name]


def _check_order(episodes: np.ndarray, steps: np.ndarray | None) -> None:
    """Raise UserError unless all steps of an episode follow one another."""
    begins = np.append(True, episodes[1:] != episodes[:-1])
    if len(np.unique(episodes)) < begins.sum():
        raise UserError(f"The steps of an episode are not together. Sort them by `{_EPISODE}`.")
    if steps is None:
        return
    steps = steps.reshape(-1)
    gaps = np.flatnonzero(~begins[1:] & (np.diff(steps) != 1))
    if len(gaps):
        at = int(gaps[0])
        raise UserError(
            f"Episode {episodes[at]} goes from `{_STEP}` {steps[at]} to {steps[at + 1]}: a stack "
            "of frames needs every step, in order."
        )
