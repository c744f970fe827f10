"""What the tools of this folder look at: a student, its task, its environments, its teacher."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from Algorithm.method_registry import is_cloning
from Common.errors import UserError
from Common.runs.run_folder import DIAGNOSTICS, STUDENT
from Common.runs.tracking import CONFIG_FILE
from Enviroment import seeds
from Enviroment.custom import task_of, with_package
from Enviroment.make import make_env, make_state_env
from Enviroment.observations import FRAME, PROPRIO, STATE
from Enviroment.tasks import Task
from Evaluation.evaluate.episodes import Act, policy_act
from Evaluation.evaluate.figures import baselines_on
from Evaluation.evaluate.seed_range import parse_seeds
from Evaluation.runs import Run, read_run
from Evaluation.tool import note
from Models.bundle import read_bundle
from Models.student.bundle import load_student
from Models.student.policy import FrozenNormaliser, StudentPolicy
from Models.teacher.adoption import adopt
from Models.teacher.corruption import corrupt
from Models.teacher.policy import Baselines, Teacher, TeacherDescription
from Models.teacher.shipped import default_teacher

_ENVS = 10  # the batch that figures are computed in: another one rounds otherwise
# Of bundles that do not say what they were made with: the defaults of Distillation's flags, on
# the machine that made the published ones.
_THREADS, _MIN_STD = 2, 0.2


@dataclass(frozen=True)
class SubjectFlags:
    """Which student, and on which episodes."""

    run: Annotated[Path, tyro.conf.Positional]  # a run folder, or a student's bundle
    episodes: int | None = None  # default: 100, or all of FIRST:STOP
    seeds: str = "evaluation"  # evaluation, validation, or FIRST:STOP
    allow_training_seeds: bool = False  # in FIRST:STOP, where a return tells little
    output: Path | None = None  # where the result goes
    threads: int | None = None  # of torch; default: as in training. Last digits depend on it
    env_id: str | None = None  # package:Id-v0 of the student's task; imports the package

    def seed_range(self, default: int = 100) -> range:
        """The episodes. Raises UserError as `parse_seeds` does."""
        if self.threads is not None and self.threads < 1:
            raise UserError(f"--threads {self.threads} must be at least 1.")
        allow = self.allow_training_seeds
        return parse_seeds(self.seeds, self.episodes, default, allow_training=allow)


@dataclass(frozen=True)
class TaughtFlags(SubjectFlags):
    """And which teacher it is measured against."""

    teacher: Path | None = None  # bundle, or run with one; default: who taught it, or the task's


@dataclass(frozen=True)
class Subject:
    """A student of a run folder, or of a bundle alone."""

    folder: Path  # as it was given
    bundle: Path
    student: StudentPolicy
    description: Mapping[str, Any]  # the bundle's
    run: Run | None  # None: it is a bundle alone
    task: Task  # with frames as the student's

    @property
    def blind(self) -> bool:
        """Whether its frames were zeroed in training, so that they are here."""
        trained_so = self.run is not None and self.run.config["student"].get("blind", False)
        return bool(self.description.get("blind", trained_so))

    @property
    def groups(self) -> Mapping[str, spaces.Space]:
        """The observation groups that it reads."""
        space = self.student.observation_space
        assert isinstance(space, spaces.Dict)
        return space.spaces

    @property
    def threads(self) -> int:
        """Of torch, in training."""
        return int(self.description.get("threads", _THREADS))

    @property
    def id_seed(self) -> int | None:
        """The first seed that it was trained on; None: nothing says."""
        if "id_seed" in self.description:
            return int(self.description["id_seed"])
        if self.run is None:
            return None
        if is_cloning(self.run.method):
            return seeds.DATASET.start
        return seeds.training(self.run.run_index).start

    @property
    def proprio_std(self) -> np.ndarray:
        """Deviation of each number of `proprio` as its normaliser has it, `(P,)`."""
        normaliser = self.student.normalisers[PROPRIO]
        assert isinstance(normaliser, FrozenNormaliser)
        return normaliser.std.numpy()

    @property
    def diagnostics(self) -> Path:
        """Where tools write what they find."""
        return self.folder / DIAGNOSTICS

    def act(self, *, stochastic: bool = False) -> Act:
        """Its policy as its task is judged: by the most probable actions, or by samples.

        What samples are drawn from, torch's own generator, begins anew with this call.

        Args:
            stochastic: samples, however the task is judged.
        """
        torch.manual_seed(seeds.model(0))
        deterministic = self.task.judged_by_mode and not stochastic
        return policy_act(self.student, deterministic=deterministic)

    def make_env(self, n_episodes: int, *, blind: bool = False) -> VecEnv:
        """Environments for evaluation; the caller closes them.

        Raises:
            UserError: what they show is not what the student was trained on.
        """
        n_envs, first = min(_ENVS, n_episodes), seeds.EVALUATION.start
        if STATE in self.groups:
            env: VecEnv = make_state_env(self.task, n_envs, first, grouped=True)
        else:
            env = make_env(self.task, n_envs, first, blind=blind or self.blind)
        try:
            self._check_shapes(env.observation_space)
        except UserError:
            env.close()
            raise
        return env

    def _check_shapes(self, shown: spaces.Space) -> None:
        assert isinstance(shown, spaces.Dict)
        for group, space in self.groups.items():
            now = shown.spaces[group].shape if group in shown.spaces else None
            if now != space.shape:
                raise UserError(
                    f"{self.bundle} reads {group} {space.shape}, and {self.task.name} shows "
                    f"{now or 'none'}: the task has changed since. Train the student anew."
                )

    def check_frames(self) -> None:
        """Raises UserError where the student reads no frames."""
        if FRAME not in self.groups:
            raise UserError(f"{self.folder}: its student reads the state and sees no frames.")

    def check_sees(self) -> None:
        """Raises UserError where there are no frames to speak of."""
        self.check_frames()
        if self.blind:
            raise UserError(f"{self.folder}: its student is blind, it was trained without frames.")


@dataclass(frozen=True)
class Taught:
    """Who taught a student, and what it is measured against."""

    teacher: Teacher  # with the noise that it had in training
    baselines: Baselines  # of the teacher without noise
    is_own: bool  # it taught this student, as far as anything says

    @property
    def is_corrupted(self) -> bool:
        return bool(self.teacher.description.corruption_sigma)


def open_subject(folder: Path | str, env_id: str | None = None) -> Subject:
    """The student of a run folder or of a bundle. It needs no teacher.

    Args:
        env_id: of its task, if the command line names it: see `with_package`.

    Raises:
        UserError: there is none, it is damaged, or of a task that is not known.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}. Give a run folder, or a student's bundle.")
    run = read_run(folder) if (folder / CONFIG_FILE).is_file() else None
    bundle = folder / STUDENT if run is not None or (folder / STUDENT).is_dir() else folder
    if run is not None and not bundle.is_dir():
        raise UserError(
            f"The run in {folder} has no student yet: it was cut short before its first "
            "evaluation. Its command with --resume goes on."
        )
    student = load_student(bundle)
    description = read_bundle(bundle, "student")[1]
    task = with_package(task_of(description), env_id)
    changes: dict[str, Any] = {}
    frame = student.all_groups().spaces.get(FRAME)
    if frame is not None and frame.shape is not None:
        changes["frame_size"] = frame.shape[1:]  # of (stack * channels, H, W)
        changes["frame_interval"] = description.get("frame_interval", task.frame_interval)
    return Subject(folder, bundle, student, description, run, dataclasses.replace(task, **changes))


def find_teacher(subject: Subject, given: Path | None) -> Taught | None:
    """The teacher of a student; None, with a note, where only `--teacher` would tell.

    Raises:
        UserError: the given one is missing or damaged, or of another task.
    """
    try:
        folder = given or _own_teacher(subject)
        teacher = adopt(Teacher.load(folder, min_std=_min_std(subject)), subject.task)
    except UserError as error:
        if given is not None:
            raise
        note(f"{error} What needs a teacher is left out; --teacher BUNDLE names one.")
        return None
    description = teacher.description
    is_own = _is_own_teacher(subject, description)
    if not is_own:
        what = f"{subject.folder} learned from another teacher than the one in {folder}"
        if given is None:
            note(f"{what}. What needs a teacher is left out; --teacher BUNDLE names one.")
            return None
        note(f"{what}. Figures that need a teacher are measured against this one.")
    elif noise := _noise(subject):
        teacher = corrupt(teacher, noise["sigma"], noise["seed"])
    return Taught(teacher, description.baselines, is_own=is_own)


def _own_teacher(subject: Subject) -> Path:
    given = _teaching(subject).get("teacher")
    return Path(given) if given else default_teacher(subject.task.name)


def _teaching(subject: Subject) -> Mapping[str, Any]:
    """The run's flags that tell who teaches; empty of a bundle alone."""
    return {} if subject.run is None else subject.run.config.get("teaching", {})


def _min_std(subject: Subject) -> float:
    """The floor of its deviation in training, on which every KL to it depends."""
    said = subject.description.get("teacher", {}).get("min_std")
    return float(said or _teaching(subject).get("min_teacher_std") or _MIN_STD)


def _noise(subject: Subject) -> Mapping[str, Any]:
    """The corruption of its teacher; empty without."""
    config = {} if subject.run is None else subject.run.config
    return subject.description.get("corruption") or config.get("corruption") or {}


def _is_own_teacher(subject: Subject, given: TeacherDescription) -> bool:
    """Whether a teacher without noise taught a student, as far as anything says."""
    identity = subject.description.get("teacher", {}).get("identity")
    if identity is None and subject.run is not None and not _noise(subject):
        identity = subject.run.teacher_identity
    return identity in (None, given.identity) and _teacher_sha256(subject) in (None, given.sha256)


def _teacher_sha256(subject: Subject) -> str | None:
    """Of the teacher without noise; None: nothing says."""
    of_run = None if subject.run is None else subject.run.teacher_sha256
    of_bundle = subject.description.get("teacher", {}).get("sha256")
    return of_bundle or _noise(subject).get("uncorrupted_sha256") or of_run


def open_seeing(flags: TaughtFlags, episodes: range) -> tuple[Subject, dict[str, np.ndarray]]:
    """A student of frames, and the returns on these seeds that its teacher's bundle knows.

    Raises:
        UserError: as `open_subject` and `find_teacher`; or it sees no frames.
    """
    subject = open_subject(flags.run, flags.env_id)
    subject.check_sees()
    taught = find_teacher(subject, flags.teacher)
    return subject, {} if taught is None else baselines_on(taught.baselines, episodes)
