"""The student that a run begins with: `--init_from`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from Algorithm.method_registry import learns_rewards
from Common.errors import UserError
from Common.files.bounded_read import read_json
from Common.runs.tracking import CONFIG_FILE
from Distillation.flags.groups import MODES
from Distillation.flags.resolve import Flags
from Enviroment.observations import FRAME
from Enviroment.tasks import script_of
from Models.bundle import bundle_folder, read_bundle
from Models.student.bundle import has_critic, load_student
from Models.student.policy import StudentConfig, StudentPolicy


@dataclass(frozen=True)
class InitialStudent:
    """A trained student, and what its bundle says of it."""

    given: Path  # by the flag
    policy: StudentPolicy
    sha256: str
    task: str
    blind: bool
    has_critic: bool  # that knows returns as PPO's does, in normalised rewards

    def config(self, *, critic_on_state: bool) -> StudentConfig:
        """The network of a student that goes on from this one."""
        return replace(self.policy.config, critic_on_state=critic_on_state)

    def flags(self, given: Flags) -> Flags:
        """The flags of a run that goes on from it: the network is this student's.

        Raises:
            UserError: the run is of another task, or its student would see something else; names
                both, and the flag that makes them one.
        """
        self._check_fits(given)
        config = self.policy.config
        network = {"pooling": config.pooling, "init_log_std": config.init_log_std}
        return replace(given, student=replace(given.student, **network))

    def check_task(self, task: str) -> None:
        """Refuses a student of another task.

        Raises:
            UserError: names both.
        """
        self._compare("task", self.task, task, f"Run `python Distillation/{script_of(self.task)}`.")

    def _check_fits(self, flags: Flags) -> None:
        mode, given_mode = self.policy.config.mode, flags.student.mode
        if mode in MODES:
            self._compare("mode", mode, given_mode, f"Give --mode {mode}.")
        elif given_mode == "State":  # of the paper's smaller student of games there is no --mode
            self._compare(
                "mode", mode, given_mode, "Give any other --mode: the network is its own."
            )
        if mode == "State":
            return
        h, w = self.policy.observation_space[FRAME].shape[-2:]  # pyright: ignore[reportIndexIssue]
        size = f"{h}x{w}"
        given = "{}x{}".format(*flags.frame_size)
        self._compare("frame size", size, given, f"Give --frame_size {size}.")
        sight = {True: "blind", False: "seeing"}
        hint = "Give --blind." if self.blind else "Leave out --blind."
        self._compare("sight", sight[self.blind], sight[flags.student.blind], hint)

    def _compare(self, what: str, its: str, of_run: str, hint: str) -> None:
        if its != of_run:
            raise UserError(
                f"--init_from {self.given}: the {what} of its student is {its}, that of this run "
                f"{of_run}. {hint}"
            )

    def give_weights(self, policy: StudentPolicy) -> None:
        """Copies the weights. A critic stays as it is where this one's sees something else, is in
        the units of a distillation, or was left out of its bundle.

        Raises:
            UserError: the networks differ.
        """
        weights = self.policy.state_dict()
        same_critic = policy.config.critic_on_state == self.policy.config.critic_on_state
        if not (same_critic and self.has_critic):
            kept = {name: w for name, w in weights.items() if not name.startswith("critic")}
            weights = {**policy.state_dict(), **kept}
        try:
            policy.load_state_dict(weights)
        except RuntimeError as error:
            raise UserError(
                f"--init_from {self.given}: its weights do not fit this run's student: {error}"
            ) from error


def read_initial_student(given: Path) -> InitialStudent:
    """The student of a run folder, or of a bundle's.

    Raises:
        UserError: there is none, it is damaged, or it does not say of which task it is.
    """
    folder = bundle_folder(given, "student")
    try:
        policy, description = load_student(folder), read_bundle(folder, "student")[1]
    except UserError as error:
        raise UserError(f"--init_from {given}: {error}") from error
    if "task" not in description:
        raise UserError(
            f"--init_from {given}: {folder / 'student.json'} names no task. Give the folder of a "
            "run, or the bundle that a run left in its folder."
        )
    blind = _was_blind(folder, description)
    return InitialStudent(
        given,
        policy,
        description["sha256"],
        description["task"],
        blind=blind,
        has_critic=has_critic(description) and learns_rewards(description.get("method")),
    )


def _was_blind(bundle: Path, description: dict[str, Any]) -> bool:
    if "blind" in description:
        return description["blind"]
    # Older bundles do not say; the configuration of their run does, where it is still beside them.
    path = bundle.parent / CONFIG_FILE
    try:
        return read_json(path)["config"]["student"]["blind"]
    except FileNotFoundError:
        return False  # a published bundle: none of a blind student was
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} does not describe a run ({error!r}).") from error
