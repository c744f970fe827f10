"""Going on with a run: what its checkpoints hold, when they are written, what must be the same."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from Algorithm.on_policy import OnPolicyStudent
from Distillation.methods import Learner
from Distillation.signals import StopSignals
from Enviroment.durable import write_file
from Enviroment.errors import UserError
from Enviroment.redaction import redact
from Enviroment.state import differences
from Evaluation.callbacks import EvaluationCallback
from Evaluation.run_folder import CHECKPOINTS
from Evaluation.tracking import CONFIG_FILE, RunTracker, package_versions
from Models.checkpoint import Checkpoint, CheckpointStore
from Models.generators import capture_generators, restore_generators
from Models.packing import pack, unpack

# May be given anew with --resume. Files are known by their SHA-256, wherever they lie now.
_MAY_DIFFER = {
    "run": (
        *("output", "overwrite", "resume", "config", "device", "threads", "wandb", "video"),
        *("checkpoint_every", "checkpoint_minutes", "keep"),
    ),
    "teaching": ("teacher",),
    "training": ("init_from",),
}
_STATE, _RECORD, _MACHINE = "state", "record", "machine"
_FINISHED = "finished"  # in the folder of checkpoints, once the run has reported


class Checkpointer:
    """What a learner calls at each boundary: it writes a checkpoint where one is due.

    One is due at the first boundary, then whenever the learner's `work_done` has passed a multiple
    of `every`, when `minutes` have gone by, when an evaluation has found a better student than any
    before, and when a signal asks the run to stop.

    Args:
        every: steps, as `work_done` counts them.
        minutes: between two checkpoints at most.
        clock: gives seconds.
    """

    def __init__(
        self,
        store: CheckpointStore,
        learner: Learner,
        evaluation: EvaluationCallback,
        tracker: RunTracker,
        signals: StopSignals,
        *,
        every: int,
        minutes: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._learner, self._evaluation = store, learner, evaluation
        self._tracker, self._signals, self._clock = tracker, signals, clock
        self._every, self._seconds = every, 60 * minutes
        self._machine = describe_machine(learner)
        self._saved_step, self._saved_at = -1, clock()
        self._best_step = -1  # of the evaluation that the latest checkpoint knew as the best

    def __call__(self) -> None:
        """Raises `Stopped`, once all is saved, if a signal asked for it."""
        stops = self._signals.requested is not None  # a later one waits for the next boundary
        if self._learner.model.work_done > self._saved_step and (stops or self._is_due()):
            self.save()
        if stops:
            self._signals.stop_if_requested()

    def save(self) -> None:
        """Writes a checkpoint; there is one already where the run has not moved since.

        Raises:
            UserError: it cannot be written; the older ones stay.
        """
        step = self._learner.model.work_done
        tensors, state = pack(
            {
                "learner": self._learner.model.capture(),
                "evaluation": self._evaluation.capture(),
                "generators": capture_generators(),
            }
        )
        values = {_STATE: state, _RECORD: self._tracker.position(), _MACHINE: self._machine}
        self._store.save(step, {_STATE: tensors}, values, best=self._is_best())
        self.begin_at(step)

    def begin_at(self, step: int) -> None:
        """There is a checkpoint of this step, which is the present one."""
        self._saved_step, self._saved_at = step, self._clock()
        self._best_step = self._evaluation.best_step

    def _is_due(self) -> bool:
        return (
            self._learner.model.work_done // self._every > self._saved_step // self._every
            or self._clock() - self._saved_at >= self._seconds
            or self._is_best()
        )

    def _is_best(self) -> bool:
        return self._evaluation.best_step > self._best_step


def find_checkpoint(
    folder: Path, store: CheckpointStore, config: Mapping[str, Any], teacher: str
) -> Checkpoint | None:
    """The newest whole checkpoint of the run in a folder, which must be this run; None: it has
    none yet.

    Args:
        store: its checkpoints.
        config: as `write_config` was given it.
        teacher: its SHA-256.

    Raises:
        UserError: the run has another configuration, and what differs; or every checkpoint of it
            is damaged.
    """
    if not (folder / CONFIG_FILE).is_file():
        return None
    _check_same(folder / CONFIG_FILE, {**config, "teacher_sha256": teacher})
    found = store.newest()
    if found is None and any(store.root.glob("step_*")):
        raise UserError(
            f"Every checkpoint in {store.root} is damaged. Restore one from a copy, or begin anew "
            "by --overwrite."
        )
    return found


def restore(checkpoint: Checkpoint, learner: Learner, evaluation: EvaluationCallback) -> None:
    """Puts learner, evaluation and random generators where they were. `learn` comes next.

    Raises:
        UserError: the checkpoint does not fit them.
    """
    state = unpack(checkpoint.tensors(_STATE), checkpoint.values[_STATE])
    if isinstance(learner.model, OnPolicyStudent) and learner.env is not None:
        # For environments that cannot be saved: other episodes than at the beginning.
        learner.env.seed(learner.id_seed + checkpoint.step)
    try:
        learner.model.restore(state["learner"])
        evaluation.restore(state["evaluation"])
        restore_generators(state["generators"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"Checkpoint {checkpoint.path} does not fit this version ({error!r}). Use the version "
            f"that wrote it: {CONFIG_FILE} names it."
        ) from error
    print(f"Going on from {checkpoint.path}.", file=sys.stderr)
    differ = differences(checkpoint.values[_MACHINE], describe_machine(learner))
    if differ:
        print(f"Not to the bit: {'; '.join(differ)}.", file=sys.stderr)


def position(checkpoint: Checkpoint) -> dict[str, Any]:
    """How far the record was, for `RunTracker`."""
    return checkpoint.values[_RECORD]


def describe_machine(learner: Learner) -> dict[str, Any]:
    """What the last bits of a result depend on beside the configuration."""
    return {
        "device": str(learner.model.device),
        "threads": torch.get_num_threads(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "versions": package_versions(),
    }


def is_finished(folder: Path) -> bool:
    """Whether the run in a folder has nothing left to do."""
    return (folder / CHECKPOINTS / _FINISHED).is_file()


def mark_finished(folder: Path) -> None:
    """From now on `is_finished`."""
    write_file(folder / CHECKPOINTS / _FINISHED, b"")


def _check_same(path: Path, config: Mapping[str, Any]) -> None:
    try:
        written = json.loads(path.read_bytes())
        was = _fixed({**written["config"], "teacher_sha256": written["teacher_sha256"]})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path} does not describe a run ({error!r}). Restore it from a copy."
        ) from error
    now = _fixed(redact(json.loads(json.dumps(config, default=str))))
    if differ := differences(was, now):
        lines = "\n".join(f"  {difference}" for difference in differ)
        raise UserError(
            f"--resume of {path.parent} with another configuration:\n{lines}\n"
            "Give the flags of the first command, or start another run."
        )


def _fixed(config: dict[str, Any]) -> dict[str, Any]:
    """What must not change between a run and its continuation."""
    return {
        group: {name: value for name, value in settings.items() if name not in _MAY_DIFFER[group]}
        if group in _MAY_DIFFER
        else settings
        for group, settings in config.items()
    }
