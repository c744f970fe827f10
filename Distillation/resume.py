"""Write checkpoints of a run, and resume it from them."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from Algorithm import distributed
from Common.commands.signals import StopSignals
from Common.differences import differences
from Common.errors import UserError
from Common.files.durable import write_file
from Common.runs.checkpoint import Checkpoint, CheckpointStore
from Common.runs.files import CONFIG_FILE
from Common.runs.generators import capture_generators, restore_generators
from Common.runs.packing import pack
from Common.runs.run_folder import CHECKPOINTS, FINISHED, check_same_settings
from Common.runs.tracking import RunTracker, package_versions
from Distillation.flags.in_force import comparable
from Distillation.methods import ReadyMethod
from Evaluation.evaluate.callbacks import EvaluationCallback

# Settings that may change on --resume. Input files are identified by SHA-256, not by path.
MAY_DIFFER = (
    *("run.output", "run.overwrite", "run.resume", "run.config", "run.device", "run.threads"),
    *("run.workers", "run.tensorboard"),
    *("run.wandb", "run.video", "run.checkpoint_every", "run.checkpoint_minutes", "run.keep"),
    *("teaching.teacher", "training.init_from", "student.backbone"),
)
_STATE, _RECORD, _MACHINE = "state", "record", "machine"
_SAME_ON_ALL_RANKS = ("policy", "optimizer")  # parts of a method's state


class Checkpointer:
    """Callback of a model at each boundary, which writes a checkpoint if one is due.

    A checkpoint is due at the first boundary, whenever the model's `work_done` passes a multiple of
    `every`, after `minutes`, after an evaluation with a new best student, and when a signal
    requests a stop. With several ranks, all of them call it: rank 0 decides, and writes the states
    of all ranks.

    Args:
        tracker: None except on rank 0.
        every: interval in units of `work_done`.
        minutes: maximum minutes between two checkpoints.
        clock: function that returns seconds.
    """

    def __init__(
        self,
        store: CheckpointStore,
        method: ReadyMethod,
        evaluation: EvaluationCallback,
        tracker: RunTracker | None,
        signals: StopSignals,
        *,
        every: int,
        minutes: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._method, self._evaluation = store, method, evaluation
        self._tracker, self._signals, self._clock = tracker, signals, clock
        self._every, self._seconds = every, 60 * minutes
        self._machine = describe_machine(method)
        self._saved_step, self._saved_at = -1, clock()
        self._best_step = -1  # step of the best evaluation in the latest checkpoint

    def __call__(self) -> None:
        """Write a checkpoint if due, and raise `Stopped` if a signal arrived on any rank."""
        # A signal after this point is handled at the next boundary.
        each = distributed.gather((self._signals.requested, self._is_due()))
        asked = [number for number, _ in each if number is not None]
        is_due = bool(asked) or each[0][1]
        if self._method.model.work_done > self._saved_step and is_due:
            self.save()
        if asked:
            self._signals.requested = signal.Signals(asked[0])
            self._signals.stop_if_requested()

    def save(self) -> None:
        """Write a checkpoint.

        Raises:
            UserError: it cannot be written. Older checkpoints are kept.
        """
        step, state = self._method.model.work_done, self._method.model.capture()
        others = _states_of_other_ranks(state)
        if self._tracker is not None:
            whole = {
                "learner": state,
                "evaluation": self._evaluation.capture(),
                "generators": capture_generators(),
            }
            parts = {_STATE: pack(whole), **others}
            values = {name: values for name, (_, values) in parts.items()}
            values |= {_RECORD: self._tracker.position(), _MACHINE: self._machine}
            tensors = {name: tensors for name, (tensors, _) in parts.items()}
            self._store.save(step, tensors, values, best=self._is_best())
        self.begin_at(step)

    def begin_at(self, step: int) -> None:
        """Record that there is a checkpoint of the current step, `step`."""
        self._saved_step, self._saved_at = step, self._clock()
        self._best_step = self._evaluation.best_step

    def _is_due(self) -> bool:
        return (
            self._method.model.work_done // self._every > self._saved_step // self._every
            or self._clock() - self._saved_at >= self._seconds
            or self._is_best()
        )

    def _is_best(self) -> bool:
        return self._evaluation.best_step > self._best_step


def find_checkpoint(
    folder: Path,
    store: CheckpointStore,
    config: Mapping[str, Any],
    teacher: str,
    identifiers: Mapping[str, str],
) -> Checkpoint | None:
    """Return the newest undamaged checkpoint of a run; None if there is none yet.

    Args:
        store: checkpoints of the run.
        config: configuration of this run, which must match that of the folder.
        teacher: SHA-256 of the teacher's weights.
        identifiers: `TeacherSetup.identifiers`; old runs lack them.

    Raises:
        UserError: the run has another configuration, and what differs; every checkpoint of it is
            damaged; or it is of another number of ranks, or not seen by all of them.
    """
    found = None
    if (folder / CONFIG_FILE).is_file():
        check_same_settings(
            *(folder, config),
            teacher_sha256=teacher,
            teacher=identifiers,
            may_differ=MAY_DIFFER,
            comparable=comparable,
        )
        found = store.to_resume()
    if len(set(distributed.gather(None if found is None else found.step))) > 1:
        raise UserError(f"The ranks find different checkpoints in {store.root}. Use a shared disk.")
    n_ranks = 1 if found is None else len(found.parts)
    if found is not None and n_ranks != distributed.world_size():
        raise UserError(
            f"Checkpoint {found.path} is of a run of {n_ranks} ranks, not of "
            f"{distributed.world_size()}. Start {n_ranks} ranks, or start over with --overwrite."
        )
    return found


def restore(checkpoint: Checkpoint, method: ReadyMethod, evaluation: EvaluationCallback) -> None:
    """Restore method, evaluation and random generators from a checkpoint, before `learn`.

    Raises:
        UserError: the checkpoint does not fit.
    """
    with checkpoint.fitting():
        state = checkpoint.unpacked(_STATE)
        if distributed.rank() > 0:
            own = checkpoint.unpacked(f"rank_{distributed.rank()}")
            state |= {**own, "learner": {**state["learner"], **own["learner"]}}
        method.model.restore(state["learner"])
        evaluation.restore(state["evaluation"])
        restore_generators(state["generators"])
        differ = differences(checkpoint.values[_MACHINE], describe_machine(method))
    distributed.print_line(f"Resuming from {checkpoint.path}.")
    if differ:
        distributed.print_line(f"Results are not bit-for-bit reproducible: {'; '.join(differ)}.")


def _states_of_other_ranks(learner: Mapping[str, Any]) -> dict[str, tuple[dict[str, Tensor], Any]]:
    """Return the packed states of ranks 1 and above, by the name of their checkpoint part.

    Args:
        learner: state of the model on this rank.
    """
    if distributed.world_size() == 1:
        return {}
    own = {name: value for name, value in learner.items() if name not in _SAME_ON_ALL_RANKS}
    tensors, values = pack({"learner": own, "generators": capture_generators()})
    all_values = distributed.gather(values)
    all_tensors = distributed.gather_bytes(safetensors.torch.save(tensors))
    return {
        f"rank_{rank}": (safetensors.torch.load(all_tensors[rank]), all_values[rank])
        for rank in range(1, distributed.world_size())
    }


def position(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the position in the record, for `RunTracker`."""
    return checkpoint.values.get(_RECORD, {})


def describe_machine(method: ReadyMethod) -> dict[str, Any]:
    """Return what affects bit-for-bit reproducibility, in addition to the configuration."""
    return {
        "device": str(method.model.device),
        "threads": torch.get_num_threads(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "versions": package_versions(),
    }


def is_finished(folder: Path) -> bool:
    """Return whether the run in a folder is finished."""
    return (folder / CHECKPOINTS / FINISHED).is_file()


def mark_finished(folder: Path) -> None:
    """Mark the run in a folder as finished.

    Raises:
        UserError: the marker cannot be written.
    """
    write_file(folder / CHECKPOINTS / FINISHED, b"")
