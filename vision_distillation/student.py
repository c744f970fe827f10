"""A trained student that acts from single frames and keeps its own history of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from torch import nn

from Common.device import resolve_device
from Common.errors import UserError
from Enviroment.observations import FRAME, PROPRIO, STATE, FrameStack, frame_channels
from Enviroment.pictures import to_frame
from Evaluation.evaluate.subject import Subject, open_subject
from Models.networks.layers import channels_last
from Models.student.policy import StudentPolicy


class Student:
    """A student of a run or a bundle, for control loops: numpy in, numpy out.

    Usage::

        student = Student.load("Results/Pusher/students/ppd_small")
        student.reset()  # an episode begins
        action = student.act(frame, proprio)  # at every step of the environment

    The actions equal those of an evaluation, bit-for-bit if the number of robots equals the number
    of environments there and torch has the same number of threads.

    Args:
        subject: the opened student; `load` opens it.
        device: where it computes; see `load`.

    Raises:
        UserError: `subject` is something else, such as a model.
    """

    def __init__(self, subject: Subject, device: str = "cpu") -> None:
        if not isinstance(subject, Subject):
            raise UserError(
                f"`Student` of a {type(subject).__name__}: it opens folders, by "
                "`Student.load(FOLDER)`. Write a folder of a model in memory by "
                "`save_student(model.policy, FOLDER, describe_task(env.task))` (docs/python.md); "
                "`model.predict(obs)` acts on stacked observations."
            )
        self.subject, self.task = subject, subject.task
        target = resolve_device(device)
        self.policy: StudentPolicy = subject.student.to(target)
        channels_last(self.policy)
        self._history: FrameStack | None = None
        self._state: tuple[np.ndarray, ...] | None = None  # of a recurrent student
        self._begins = np.zeros(0, bool)  # of each robot: the next step is the first of an episode

    @classmethod
    def load(
        cls,
        path: Path | str,
        *,
        device: str = "cpu",
        env_id: str | None = None,
        encoder: str | type[nn.Module] | None = None,
    ) -> Self:
        """Load the student of a run folder or of a bundle. No code in it is run.

        Args:
            device: `cpu`, `cuda`, `cuda:N`, or `auto` for a GPU if there is one.
            env_id: `package:Id-v0` of its task, which imports the package. `evaluate` needs it,
                `act` does not.
            encoder: its own encoder if it has one: the class, or `package:Class`, which is
                imported.

        Raises:
            UserError: there is no student, it is damaged, or this machine lacks the device.
        """
        return cls(open_subject(path, env_id, encoder=encoder), device)

    @property
    def folder(self) -> Path:
        """Return the run folder or the bundle."""
        return self.subject.folder

    @property
    def description(self) -> Mapping[str, Any]:
        """Return the description in its bundle: task, method, results of the training."""
        return self.subject.description

    @property
    def groups(self) -> tuple[str, ...]:
        """Return what it observes: `frame`, or `frame` and `proprio`, or `state`."""
        return self.policy.config.groups

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """Return channels, height and width of a single frame."""
        return (frame_channels(self.task), *self.task.frame_size)

    def frame_of(self, picture: Any) -> np.ndarray:
        """Return a camera's picture as a frame of this student, uint8 `(C, H, W)`.

        Args:
            picture: red, green and blue, or gray, of any size; see `Enviroment.pictures.to_frame`.

        Raises:
            UserError: it is no picture, or it is gray and the student sees colours.
        """
        return to_frame(picture, self.task.frame_size, grayscale=self.task.grayscale)

    def reset(self, begins: ArrayLike | None = None) -> None:
        """Reset the frames and the hidden states of all robots, because an episode begins.

        Args:
            begins: `(N,)` bool, the robots whose episode begins; default: all.

        Raises:
            UserError: there are not as many robots.
        """
        if begins is None:
            self._history, self._state, self._begins = None, None, np.zeros(0, bool)
            return
        begun = np.asarray(begins, bool)
        if begun.shape != self._begins.shape:
            raise UserError(
                f"`begins` {begun.shape} must have one value for each of the {len(self._begins)} "
                "robots of the last `act`."
            )
        self._begins |= begun

    def act(
        self,
        frame: ArrayLike | None = None,
        proprio: ArrayLike | None = None,
        *,
        state: ArrayLike | None = None,
        deterministic: bool = True,
    ) -> np.ndarray:
        """Return the action for the newest observation. Call it at every step.

        The first call after `reset` fills the history with its frame, as environments do.

        Args:
            frame: uint8 `(C, H, W)`, `(H, W, C)`, or gray `(H, W)`, of the size in `frame_shape`;
                of several robots `(N, C, H, W)` or `(N, H, W, C)`.
            proprio: raw values of the joints, `(P,)` or `(N, P)`.
            state: the state, for students of mode State, `(S,)` or `(N, S)`.
            deterministic: the most probable action, as evaluations do except in Procgen; or a
                sample from torch's generator.

        Returns:
            `(A,)` or `(N, A)` in the units of the environment; a discrete action is an int64.

        Raises:
            UserError: an observation is missing or has another shape or type, or values are not
                finite.
        """
        given = {FRAME: frame, PROPRIO: proprio, STATE: state}
        self._check_given(given)
        single, batch = [], {}
        for group in self.groups:
            rows, is_single = self._rows(group, np.asarray(given[group]))
            batch[group] = rows
            single.append(is_single)
        if len(set(single)) > 1 or len({len(rows) for rows in batch.values()}) > 1:
            shapes = ", ".join(f"{name} {np.asarray(given[name]).shape}" for name in batch)
            raise UserError(f"Observations are of different numbers of robots: {shapes}.")
        begins = self._begins.copy() if self._begins.any() else None
        if FRAME in batch:
            batch[FRAME] = self._stacked(batch[FRAME])
        else:  # nothing to remember, but `reset` takes one entry per robot
            self._begins = np.zeros(len(batch[STATE]), bool)
        actions, self._state = self.policy.predict(batch, self._state, begins, deterministic)
        return actions[0] if single[0] else actions

    def _check_given(self, given: Mapping[str, Any]) -> None:
        """Raise UserError unless the student's groups are given, and no others."""
        named = {name for name, value in given.items() if value is not None}
        if named != set(self.groups):
            wanted = " and ".join(f"`{name}`" for name in self.groups)
            got = " and ".join(f"`{name}`" for name in given if name in named) or "nothing"
            raise UserError(f"This student observes {wanted}, but got {got}.")

    def _rows(self, group: str, values: np.ndarray) -> tuple[np.ndarray, bool]:
        """Return observations as `(N, ...)`, and whether they are of a single robot."""
        if group == FRAME:
            is_single = values.ndim < 4
            rows = self._checked_frames(values[None] if is_single else values)
        else:
            is_single = values.ndim < 2
            rows = np.atleast_2d(np.asarray(values, np.float32))
            size = self.policy.observation_space[group].shape  # pyright: ignore[reportIndexIssue]
            if rows.shape[1:] != size:
                raise UserError(f"`{group}` {values.shape} must have {size[0]} values per robot.")
            if not np.isfinite(rows).all():
                raise UserError(f"`{group}` is not finite: {values.tolist()!s:.200}.")
        if not len(rows):
            raise UserError(f"`{group}` {values.shape} holds no robot.")
        return rows, is_single

    def _checked_frames(self, frames: np.ndarray) -> np.ndarray:
        """Return uint8 `(N, C, H, W)`."""
        channels, h, w = self.frame_shape
        if channels == 1 and frames.shape[1:] == (h, w):
            frames = frames[:, None]
        if frames.shape[1:] == (h, w, channels):
            frames = np.moveaxis(frames, -1, 1)
        if frames.shape[1:] != (channels, h, w) or frames.dtype != np.uint8:
            raise UserError(
                f"A frame {frames.shape[1:]} of {frames.dtype} must be {self.frame_shape} of "
                "uint8. `frame_of` converts pictures of a camera."
            )
        return frames

    def _stacked(self, frames: np.ndarray) -> np.ndarray:
        """Add frames `(N, C, H, W)` to the history, and return stacks `(N, stack * C, H, W)`."""
        if self._history is None:
            self._history = FrameStack(self.task, len(frames))
            self._begins = np.ones(len(frames), bool)
        if len(frames) != len(self._begins):
            raise UserError(
                f"There are frames of {len(frames)} robots, but the last ones were of "
                f"{len(self._begins)}: call `reset` first."
            )
        if self.subject.blind:
            frames = np.zeros_like(frames)
        self._history.push(frames)
        for index in np.flatnonzero(self._begins).tolist():
            self._history.restart(index, frames[index])
        self._begins[:] = False
        return self._history.stacks()
