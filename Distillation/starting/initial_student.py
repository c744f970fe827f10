"""Read the initial student of a run (`--init_from`)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from Algorithm.method_registry import learns_rewards
from Common.differences import differences, plain_json
from Common.errors import UserError
from Common.files.bounded_read import read_json
from Common.runs.files import CONFIG_FILE
from Distillation.flags.groups import MODES
from Distillation.flags.resolve import Flags
from Enviroment.cameras import CameraSet
from Enviroment.observations import FRAME
from Enviroment.tasks import Task, script_of
from Models.bundle import bundle_folder, read_bundle
from Models.networks.encoders import is_own
from Models.student.bundle import camera_set_of, has_critic, load_student
from Models.student.policy import StudentConfig, StudentPolicy


@dataclass(frozen=True)
class InitialStudent:
    """A trained student and the description of its bundle."""

    given: Path  # value of the flag
    policy: StudentPolicy
    sha256: str
    task: str
    blind: bool
    has_critic: bool  # a critic of returns in normalised rewards, as PPO's
    camera_set: CameraSet | None = None  # its frames; None: of the state, or an older bundle

    def config(self, *, critic_on_state: bool) -> StudentConfig:
        """Return the configuration of a student that continues this one."""
        return replace(self.policy.config, critic_on_state=critic_on_state)

    def flags(self, given: Flags) -> Flags:
        """Return the flags of a run that continues this student, with its network.

        Raises:
            UserError: the observations of the run's student differ; the message names both, and
                the flag to change.
        """
        self._check_fits(given)
        config = self.policy.config
        network = {
            "pooling": config.pooling,
            "keypoints": config.keypoints,
            "backbone_sha256": config.backbone_sha256 or None,
            "init_log_std": config.init_log_std,
            "camera_encoders": "separate" if config.camera_channels else "shared",
            "recurrent": config.recurrent,
            "recurrent_units": config.recurrent_units,
        }
        flags = replace(given, student=replace(given.student, **network))
        flags.check_inherited_memory(f"--init_from {self.given}")
        return flags

    def check_task(self, task: str) -> None:
        """Check that the student is of the given task.

        Raises:
            UserError: it is of another one.
        """
        self._compare("task", self.task, task, f"Run `python Distillation/{script_of(self.task)}`.")

    def check_frames(self, task: Task) -> None:
        """Check that the frames of a task are those of the student.

        Raises:
            UserError: cameras, colour, depth or stacking differ; the message lists them.
        """
        if self.policy.config.mode == "State":
            return
        ours = task.camera_set
        if self.camera_set is None:
            channels = self.policy.observation_space[FRAME].shape[0]  # pyright: ignore[reportIndexIssue]
            differ = [f"channels was {channels} and is {ours.stack * ours.channels}"]
            differ = differ if channels != ours.stack * ours.channels else []
        else:
            differ = differences(plain_json(self.camera_set.as_json()), plain_json(ours.as_json()))
        if differ:
            raise UserError(
                f"--init_from {self.given}: its student has other frames than this run "
                f"({'; '.join(differ)}). Give the flags of its frames."
            )

    def _check_fits(self, flags: Flags) -> None:
        mode, given_mode = self.policy.config.mode, flags.student.mode
        if mode in MODES or is_own(mode):
            flag = "encoder" if is_own(mode) else "mode"
            self._compare("mode", mode, given_mode, f"Give --{flag} {mode}.")
        elif given_mode == "State":  # the paper's smaller student of games has no --mode
            self._compare(
                "mode", mode, given_mode, "Give any other --mode: the student sets the network."
            )
        if mode == "State":
            return
        h, w = self.policy.observation_space[FRAME].shape[-2:]  # pyright: ignore[reportIndexIssue]
        size = f"{h}x{w}"
        given = "{}x{}".format(*flags.frame_size)
        self._compare("frame size", size, given, f"Give --frame_size {size}.")
        sight = {True: "blind", False: "seeing"}
        hint = "Give --blind." if self.blind else "Leave out --blind."
        self._compare("view", sight[self.blind], sight[flags.student.blind], hint)

    def _compare(self, what: str, its: str, of_run: str, hint: str) -> None:
        if its != of_run:
            raise UserError(
                f"--init_from {self.given}: the {what} of its student is {its}, that of this run "
                f"{of_run}. {hint}"
            )

    def give_weights(self, policy: StudentPolicy, *, learns_rewards: bool = True) -> None:
        """Copy the weights into a policy.

        The critic is not copied if its observations differ, if it or the new run is that of a
        distillation, whose rewards have another scale, or if the bundle has none.

        Args:
            learns_rewards: whether the critic of the new run learns normalised rewards, as PPO's.

        Raises:
            UserError: the networks differ.
        """
        weights = self.policy.state_dict()
        fits = _have_same_critic(policy.config, self.policy.config)
        if not (fits and self.has_critic and learns_rewards):
            kept = {name: w for name, w in weights.items() if not name.startswith("critic")}
            weights = {**policy.state_dict(), **kept}
        try:
            policy.load_state_dict(weights)
        except RuntimeError as error:
            raise UserError(
                f"--init_from {self.given}: the weights do not fit this run's student: {error}"
            ) from error


def _have_same_critic(ours: StudentConfig, theirs: StudentConfig) -> bool:
    names = ("critic_on_state", "critic_head", "critic_activation")
    return all(getattr(ours, name) == getattr(theirs, name) for name in names)


def read_initial_student(given: Path) -> InitialStudent:
    """Return the student of a run folder or a bundle.

    Raises:
        UserError: there is no student, it is damaged, or its bundle names no task.
    """
    folder = bundle_folder(given, "student")
    try:
        policy, description = load_student(folder), read_bundle(folder, "student")[1]
    except UserError as error:
        raise UserError(f"--init_from {given}: {error}") from error
    if "task" not in description:
        raise UserError(
            f"--init_from {given}: {folder / 'student.json'} names no task. Give a run folder, or "
            "the bundle in a run folder."
        )
    blind = _was_blind(folder, description)
    return InitialStudent(
        given,
        policy,
        description["sha256"],
        description["task"],
        blind=blind,
        has_critic=has_critic(description) and learns_rewards(description.get("method")),
        camera_set=camera_set_of(description),
    )


def _was_blind(bundle: Path, description: dict[str, Any]) -> bool:
    if "blind" in description:
        return description["blind"]
    # Older bundles lack this entry. Read it from the configuration of their run, if present.
    path = bundle.parent / CONFIG_FILE
    try:
        return read_json(path)["config"]["student"]["blind"]
    except FileNotFoundError:
        return False  # a published bundle, none of which is of a blind student
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} does not describe a run ({error!r}).") from error
