"""Going on with a run: what its checkpoints hold, when they are written, what must be the same."""

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
from Common.runs.generators import capture_generators, restore_generators
from Common.runs.packing import pack
from Common.runs.run_folder import CHECKPOINTS, check_same_settings
from Common.runs.tracking import CONFIG_FILE, RunTracker, package_versions
from Distillation.flags.in_force import comparable
from Distillation.methods import Learner
from Evaluation.evaluate.callbacks import EvaluationCallback

# May be given anew with --resume. Files are known by their SHA-256, wherever they lie now.
MAY_DIFFER = (
    *("run.output", "run.overwrite", "run.resume", "run.config", "run.device", "run.threads"),
    "run.workers",
    *("run.wandb", "run.video", "run.checkpoint_every", "run.checkpoint_minutes", "run.keep"),
    *("teaching.teacher", "training.init_from"),
)
_STATE, _RECORD, _MACHINE = "state", "record", "machine"
_ALIKE = ("policy", "optimizer")  # of a learner's state, on every rank
_FINISHED = "finished"  # in the folder of checkpoints, once the run has reported


class Checkpointer:
    """What a learner calls at each boundary: it writes a checkpoint where one is due.

    One is due at the first boundary, then whenever the learner's `work_done` has passed a multiple
    of `every`, when `minutes` have gone by, when an evaluation has found a better student than any
    before, and when a signal asks the run to stop. In a run of several ranks all of them call it:
    rank 0 decides, and writes what each of them has of its own.

    Args:
        tracker: None but on rank 0.
        every: steps, as `work_done` counts them.
        minutes: between two checkpoints at most.
        clock: gives seconds.
    """

    def __init__(
        self,
        store: CheckpointStore,
        learner: Learner,
        evaluation: EvaluationCallback,
        tracker: RunTracker | None,
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
        """Raises `Stopped`, once all is saved, if a signal asked for it, on whatever rank."""
        # One that comes later waits for the next boundary.
        each = distributed.gather((self._signals.requested, self._is_due()))
        asked = [number for number, _ in each if number is not None]
        is_due = bool(asked) or each[0][1]
        if self._learner.model.work_done > self._saved_step and is_due:
            self.save()
        if asked:
            self._signals.requested = signal.Signals(asked[0])
            self._signals.stop_if_requested()

    def save(self) -> None:
        """Writes a checkpoint; there is one already where the run has not moved since.

        Raises:
            UserError: it cannot be written; the older ones stay.
        """
        step, learner = self._learner.model.work_done, self._learner.model.capture()
        others = _states_of_other_ranks(learner)
        if self._tracker is not None:
            whole = {
                "learner": learner,
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
    folder: Path,
    store: CheckpointStore,
    config: Mapping[str, Any],
    teacher: str,
    known_by: Mapping[str, str],
) -> Checkpoint | None:
    """The newest whole checkpoint of the run in a folder, which must be this run; None: it has
    none yet.

    Args:
        store: its checkpoints.
        config: as `write_config` was given it.
        teacher: SHA-256 of its weights.
        known_by: `Teaching.known_by`; runs from before it do not say.

    Raises:
        UserError: the run has another configuration, and what differs; every checkpoint of it is
            damaged; or it is of another number of ranks, or not seen by all of them.
    """
    found = None
    if (folder / CONFIG_FILE).is_file():
        check_same_settings(
            *(folder, config),
            teacher_sha256=teacher,
            teacher=known_by,
            may_differ=MAY_DIFFER,
            comparable=comparable,
        )
        found = store.to_resume()
    if len(set(distributed.gather(None if found is None else found.step))) > 1:
        raise UserError(f"Not all ranks see the same checkpoints in {store.root}. Share the disk.")
    n_ranks = 1 if found is None else len(found.parts)
    if found is not None and n_ranks != distributed.world_size():
        raise UserError(
            f"Checkpoint {found.path} is of a run of {n_ranks} ranks, and these are "
            f"{distributed.world_size()}. Start {n_ranks}, or begin anew by --overwrite."
        )
    return found


def restore(checkpoint: Checkpoint, learner: Learner, evaluation: EvaluationCallback) -> None:
    """Puts learner, evaluation and random generators where they were. `learn` comes next.

    Raises:
        UserError: the checkpoint does not fit them.
    """
    with checkpoint.fitting():
        state = checkpoint.unpacked(_STATE)
        if distributed.rank() > 0:
            own = checkpoint.unpacked(f"rank_{distributed.rank()}")
            state |= {**own, "learner": {**state["learner"], **own["learner"]}}
        learner.model.restore(state["learner"])
        evaluation.restore(state["evaluation"])
        restore_generators(state["generators"])
        differ = differences(checkpoint.values[_MACHINE], describe_machine(learner))
    distributed.print_line(f"Going on from {checkpoint.path}.")
    if differ:
        distributed.print_line(f"Not to the bit: {'; '.join(differ)}.")


def _states_of_other_ranks(learner: Mapping[str, Any]) -> dict[str, tuple[dict[str, Tensor], Any]]:
    """What ranks 1 and on have of their own, packed, by the name of their part of a checkpoint.

    Args:
        learner: the learner's state, on this rank.
    """
    if distributed.world_size() == 1:
        return {}
    own = {name: value for name, value in learner.items() if name not in _ALIKE}
    tensors, values = pack({"learner": own, "generators": capture_generators()})
    all_values = distributed.gather(values)
    all_tensors = distributed.gather_bytes(safetensors.torch.save(tensors))
    return {
        f"rank_{rank}": (safetensors.torch.load(all_tensors[rank]), all_values[rank])
        for rank in range(1, distributed.world_size())
    }


def position(checkpoint: Checkpoint) -> dict[str, Any]:
    """How far the record was, for `RunTracker`."""
    return checkpoint.values.get(_RECORD, {})


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
    """From now on `is_finished`.

    Raises:
        UserError: it cannot be written.
    """
    write_file(folder / CHECKPOINTS / _FINISHED, b"")
