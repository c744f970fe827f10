"""Open the subject of an evaluation: a student with its task, environments and teacher."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from Algorithm.method_registry import is_cloning
from Common.errors import UserError
from Common.places import shipped
from Common.runs.files import CONFIG_FILE
from Common.runs.run_folder import DIAGNOSTICS, STUDENT
from Enviroment import seeds
from Enviroment.custom import CUSTOM_TASK, task_of, with_package
from Enviroment.drawing.looks import EpisodeLooks
from Enviroment.make import make_env, make_state_env
from Enviroment.observations import FRAME, PROPRIO, STATE
from Enviroment.tasks import Task
from Evaluation.evaluate.episodes import PolicyAct, policy_act
from Evaluation.evaluate.figures import baselines_on
from Evaluation.evaluate.subject_flags import TeacherFlags
from Evaluation.runs import Run, read_run
from Evaluation.tool import print_note
from Models.bundle import read_bundle
from Models.student.bundle import camera_set_of, load_student
from Models.student.normaliser import FrozenNormaliser
from Models.student.policy import StudentPolicy
from Models.teacher.adoption import adopt
from Models.teacher.corruption import corrupt
from Models.teacher.limits import MEAN_MARGIN
from Models.teacher.policy import Baselines, Teacher, TeacherDescription
from Models.teacher.shipped import default_teacher, shipped_teachers

_ENVS = 10  # batch size of evaluations, which affects rounding
# For bundles without these values: the defaults of Distillation's flags, on the machine of the
# published bundles.
_THREADS, _MIN_STD = 2, 0.2
_WITHOUT_TEACHER = "Omitting figures that need a teacher; give it by --teacher BUNDLE."


@dataclass(frozen=True)
class Subject:
    """A student from a run folder or a bundle."""

    folder: Path  # as given
    bundle: Path
    student: StudentPolicy
    description: Mapping[str, Any]  # the bundle's
    run: Run | None  # None for a bundle without a run
    task: Task  # with the student's frame size and interval

    @property
    def blind(self) -> bool:
        """Whether its frames were zeroed in training, and therefore in evaluations."""
        trained_so = self.run is not None and self.run.config["student"].get("blind", False)
        return bool(self.description.get("blind", trained_so))

    @property
    def groups(self) -> Mapping[str, spaces.Space]:
        """The observation groups that it uses."""
        space = self.student.observation_space
        assert isinstance(space, spaces.Dict)
        return space.spaces

    @property
    def threads(self) -> int:
        """Threads of torch in training."""
        return int(self.description.get("threads", _THREADS))

    @property
    def id_seed(self) -> int | None:
        """The first seed of its training; None if unknown."""
        if "id_seed" in self.description:
            return int(self.description["id_seed"])
        if self.run is None:
            return None
        if is_cloning(self.run.method):
            return seeds.DATASET.start
        return seeds.training(self.run.run_index).start

    @property
    def proprio_std(self) -> np.ndarray:
        """Standard deviation of each element of `proprio`, from its normaliser, `(P,)`."""
        normaliser = self.student.normalisers[PROPRIO]
        assert isinstance(normaliser, FrozenNormaliser)
        return normaliser.std.numpy()

    @property
    def diagnostics(self) -> Path:
        """The folder of the results of diagnostics."""
        return self.folder / DIAGNOSTICS

    def act(self, *, stochastic: bool = False) -> PolicyAct:
        """Return its policy, deterministic or stochastic as its task is evaluated.

        Seeds torch's global generator, which samples are drawn from.

        Args:
            stochastic: sample actions even if the task is evaluated by the mode.
        """
        torch.manual_seed(seeds.model(0))
        deterministic = self.task.judged_by_mode and not stochastic
        return policy_act(self.student, deterministic=deterministic)

    def make_env(
        self, n_episodes: int, *, blind: bool = False, looks: EpisodeLooks | None = None
    ) -> VecEnv:
        """Make environments for evaluation; the caller closes them.

        Args:
            blind: zero the frames.
            looks: of each episode; None: those of the environment.

        Raises:
            UserError: the observations have other shapes than in training.
        """
        n_envs, first = min(_ENVS, n_episodes), seeds.EVALUATION.start
        if STATE in self.groups:
            env: VecEnv = make_state_env(self.task, n_envs, first, grouped=True)
        else:
            task = dataclasses.replace(self.task, looks=looks)
            env = make_env(task, n_envs, first, blind=blind or self.blind)
        try:
            self._check_shapes(env.observation_space)
        except UserError:
            env.close()
            raise
        return env

    def _check_shapes(self, observed: spaces.Space) -> None:
        assert isinstance(observed, spaces.Dict)
        for group, space in self.groups.items():
            shape = observed.spaces[group].shape if group in observed.spaces else None
            if shape != space.shape:
                raise UserError(
                    f"{self.bundle} expects {group} {space.shape}, but {self.task.name} provides "
                    f"{shape or 'none'}: the task has changed. Train the student again."
                )

    def check_frames(self) -> None:
        """Raise UserError if the student does not observe frames."""
        if FRAME not in self.groups:
            raise UserError(f"{self.folder}: its student observes the state instead of frames.")

    def check_uses_frames(self) -> None:
        """Raise UserError if the student does not observe frames, or was trained blind."""
        self.check_frames()
        if self.blind:
            raise UserError(f"{self.folder}: its student is blind, i.e. trained without frames.")


@dataclass(frozen=True)
class ReferenceTeacher:
    """The teacher that a student is compared with."""

    teacher: Teacher  # with its noise of training
    baselines: Baselines  # returns without noise
    successes: Baselines  # likewise
    is_own: bool  # whether it taught this student, as far as known

    @property
    def is_corrupted(self) -> bool:
        return bool(self.teacher.description.corruption_sigma)


def open_subject(
    folder: Path | str,
    env_id: str | None = None,
    wrapper: str | None = None,
    encoder: str | type[nn.Module] | None = None,
) -> Subject:
    """Open the student of a run folder or of a bundle, without its teacher.

    Args:
        env_id, wrapper: those of its task if given on the command line, see `with_package`.
        encoder: its own encoder, see `load_student`.

    Raises:
        UserError: there is no student, it is damaged, or its task is unknown.
    """
    folder = shipped(folder)
    if not folder.exists() and (file := folder.with_name(f"{folder.name}.zip")).is_file():
        folder = file  # SB3's `save("agent")` writes agent.zip
    if folder.is_file():
        read_bundle(folder, "student")  # raises, with what to do with a file of SB3
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}. Give a run folder or a student's bundle.")
    run = read_run(folder) if (folder / CONFIG_FILE).is_file() else None
    bundle = folder / STUDENT if run is not None or (folder / STUDENT).is_dir() else folder
    if run is not None and not bundle.is_dir():
        raise UserError(
            f"The run in {folder} has no student yet: it was cut short before its first "
            "evaluation. Continue it by its command with --resume."
        )
    student = load_student(bundle, encoder=encoder)
    description = read_bundle(bundle, "student")[1]
    if "task" not in description and CUSTOM_TASK not in description:
        raise UserError(
            f"{bundle} holds no task of its student, which defines its frames. Save a student of a "
            "loop of your own with its task: `save_student(model.policy, FOLDER, "
            "describe_task(task))`, or `model.save(FOLDER, describe_task(task))` of cloning and "
            "DAgger (docs/python.md)."
        )
    task = with_package(task_of(description), env_id, wrapper)
    frame = student.all_groups().spaces.get(FRAME)
    if frame is not None and frame.shape is not None:
        frames = camera_set_of(description)
        if frames is None:
            interval = description.get("frame_interval", task.frame_interval)
            size: Any = frame.shape[1:]  # of (stack * channels, H, W)
            frames = dataclasses.replace(task.camera_set, size=size, interval=interval)
        task = task.seen_by(frames)
    return Subject(folder, bundle, student, description, run, task)


def find_teacher(subject: Subject, given: Path | None) -> ReferenceTeacher | None:
    """Return the teacher of a student; print a note and return None if it is not found.

    Raises:
        UserError: the given teacher is missing or damaged, or belongs to another task.
    """
    try:
        folder = given or _own_teacher(subject)
        teacher = adopt(Teacher.load(folder, "cpu", *_limits(subject)), subject.task)
    except UserError as error:
        if given is not None:
            raise
        print_note(f"{error} {_WITHOUT_TEACHER}")
        return None
    description = teacher.description
    is_own = _is_own_teacher(subject, description)
    if not is_own:
        mismatch = f"{subject.folder} learned from another teacher than the one in {folder}."
        if given is None:
            print_note(f"{mismatch} {_WITHOUT_TEACHER}")
            return None
        print_note(f"{mismatch} Figures that need a teacher are computed with this one.")
    elif noise := _noise(subject):
        teacher = corrupt(teacher, noise["sigma"], noise["seed"])
    known = description.baselines, description.successes
    return ReferenceTeacher(teacher, *known, is_own=is_own)


def _own_teacher(subject: Subject) -> Path:
    """Return the teacher of the run's flags, else the shipped one that taught the student."""
    if given := _teacher_flags(subject).get("teacher"):
        return Path(given)
    for folder in shipped_teachers(subject.task.name):
        if _is_own_teacher(subject, Teacher.load(folder).description):
            return folder
    return default_teacher(subject.task.name)


def _teacher_flags(subject: Subject) -> Mapping[str, Any]:
    """Return the run's flags of the teacher; empty for a bundle without a run."""
    return {} if subject.run is None else subject.run.config.get("teaching", {})


def _limits(subject: Subject) -> tuple[float, float | None]:
    """Return `min_std` and `mean_margin` of the teacher in training, which the KL depends on."""
    described, flags = subject.description.get("teacher", {}), _teacher_flags(subject)
    min_std = float(described.get("min_std") or flags.get("min_teacher_std") or _MIN_STD)
    # Missing in older bundles and runs, whose teachers were not clipped.
    margin = MEAN_MARGIN if flags.get("clip_teacher_mean") else None
    return min_std, described.get("mean_margin", margin)


def _noise(subject: Subject) -> Mapping[str, Any]:
    """Return the corruption of its teacher; empty if there is none."""
    config = {} if subject.run is None else subject.run.config
    return subject.description.get("corruption") or config.get("corruption") or {}


def _is_own_teacher(subject: Subject, given: TeacherDescription) -> bool:
    """Return whether this teacher, before corruption, taught the student, as far as known."""
    identity = subject.description.get("teacher", {}).get("identity")
    if identity is None and subject.run is not None and not _noise(subject):
        identity = subject.run.teacher_identity
    return identity in (None, given.identity) and _teacher_sha256(subject) in (None, given.sha256)


def _teacher_sha256(subject: Subject) -> str | None:
    """Return the hash of the teacher before corruption; None if unknown."""
    of_run = None if subject.run is None else subject.run.teacher_sha256
    of_bundle = subject.description.get("teacher", {}).get("sha256")
    return of_bundle or _noise(subject).get("uncorrupted_sha256") or of_run


def open_frame_student(
    flags: TeacherFlags, episodes: range
) -> tuple[Subject, dict[str, np.ndarray]]:
    """Open a student that observes frames, with its teacher's baselines on these seeds.

    Raises:
        UserError: as `open_subject` and `find_teacher`; or it does not observe frames.
    """
    subject = open_subject(flags.run, flags.env_id, flags.wrapper, flags.encoder)
    subject.check_uses_frames()
    reference = find_teacher(subject, flags.teacher)
    return subject, {} if reference is None else baselines_on(reference.baselines, episodes)
