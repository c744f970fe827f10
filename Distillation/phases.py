"""Consecutive phases in one run: `--C_data --BC_phase --Dagger_phase`.

The phases are not separate runs. The last one is the run, and each earlier phase is a start that
its method has by itself: the dataset is collected into the run folder if it is not there yet, and
behavioural cloning is round 0 of DAgger. So there is one configuration, one decay of the learning
rate, one curve and one report, and the run resumes in any phase like every other run.
"""

from __future__ import annotations

from Common.names import counted
from Distillation.flags.resolve import Flags

DATA = "data"  # folder of the collected dataset in the run folder


def data_folders(flags: Flags) -> tuple[str, ...]:
    """Return the names in a run folder that a stopped collection may leave of this run."""
    return (DATA,) if flags.method.has_phase("C_data") else ()


def plan(flags: Flags, noise: float) -> str:
    """Return the budget of each phase in a line; empty for a single method.

    Args:
        noise: behaviour noise of the collection.
    """
    phases = flags.method.phases
    if len(phases) == 1:
        return ""
    clone, dagger = flags.clone(), flags.dagger()
    texts = {
        "C_data": (
            f"collect {flags.cloning.num_data:,} env steps of the teacher, behaviour noise "
            f"{noise:g}"
        ),
        "BC_phase": (
            f"clone with {clone.gradient_steps:,} gradient steps of {clone.batch_size} samples, "
            f"{clone.loss_type}"
        ),
        "Dagger_phase": (
            f"DAgger in {counted(dagger.rounds, 'round')} of {dagger.env_steps:,} env steps and "
            f"{dagger.gradient_steps:,} gradient steps"
        ),
    }
    lines = (f"  {number}. {texts[name]}" for number, name in enumerate(phases, 1))
    return "\n".join(("Phases:", *lines))
