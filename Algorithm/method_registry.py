"""Every method, declared once. The command line, grids, tables, curves and the report read it.

A new method is a module with its loss and class, and an entry here. This module imports nothing
heavy: a command line can be parsed without loading torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

from Common.errors import UserError
from Common.names import nearest

Family = Literal["on_policy", "cloning", "collection"]


@dataclass(frozen=True)
class Method:
    """What the rest of the toolkit has to know about a method."""

    name: str  # of its flag, and in configurations
    title: str  # in tables and legends
    summary: str  # one line, for --help
    family: Family  # which loop runs it
    options: tuple[str, ...]  # groups of flags that it takes, beside those of every method
    algorithm: str = ""  # "module:Class"; "" where no student learns
    config: str = ""  # "module:Class", its settings
    settings: Mapping[str, Any] = field(default_factory=dict)  # that make it this method
    paper_name: str = ""  # in tables laid out like those of the PPD paper
    paper_column: int = 0  # its place among their columns
    has_teacher: bool = True  # whether a teacher decides what it learns
    labels_live: bool = True  # whether it asks the teacher while it acts
    learns_rewards: bool = True  # False: its critic regresses to the teacher's values
    counts: Literal["env steps", "gradient steps"] = "env steps"  # of its logging points

    def takes(self, option: str) -> bool:
        """Return whether the method takes that group of flags."""
        return option in self.options

    def load_algorithm(self) -> Any:
        """Return the class that trains a student by this method."""
        return _load(self.algorithm)

    def load_config(self) -> Any:
        """Return the dataclass of its settings."""
        return _load(self.config)


_ROLLOUTS = ("student", "initial", "rollouts", "environments")

_ALL = (
    Method(
        "PPD",
        "PPD",
        "Proximal Policy Distillation: PPO plus a KL to the teacher",
        "on_policy",
        (*_ROLLOUTS, "minibatches", "epochs", "clipping", "kl", "lambda", "teacher"),
        "Algorithm.on_policy.ppd:PPD",
        "Algorithm.on_policy.config:PPDConfig",
        paper_name="ppd",
        paper_column=4,
    ),
    Method(
        "Sdistillation",
        "student-distill",
        "student-distill: the student acts, and regresses to the teacher",
        "on_policy",
        (*_ROLLOUTS, "kl", "teacher"),
        "Algorithm.on_policy.distill:StudentDistill",
        "Algorithm.on_policy.config:DistillConfig",
        paper_name="sd",
        paper_column=3,
        learns_rewards=False,
    ),
    Method(
        "Tdistillation",
        "teacher-distill",
        "teacher-distill: the same where the teacher acts",
        "on_policy",
        (*_ROLLOUTS, "kl", "teacher"),
        "Algorithm.on_policy.distill:TeacherDistill",
        "Algorithm.on_policy.config:DistillConfig",
        paper_name="td",
        paper_column=2,
        learns_rewards=False,
    ),
    Method(
        "PPO",
        "PPO",
        "the same student by PPO alone, without a teacher",
        "on_policy",
        (*_ROLLOUTS, "minibatches", "epochs", "clipping"),
        "Algorithm.on_policy.ppd:PPD",
        "Algorithm.on_policy.config:PPDConfig",
        settings={"distill_lambda": 0.0},
        paper_name="ppo",
        paper_column=1,
        has_teacher=False,
    ),
    Method(
        "C_data",
        "collection",
        "no student: collect a dataset of what the teacher sees and does",
        "collection",
        ("collection", "noise", "teacher"),
    ),
    Method(
        "BC_phase",
        "BC",
        "behavioural cloning from a dataset",
        "cloning",
        ("student", "initial", "labels", "noise", "minibatches", "teacher"),
        "Algorithm.cloning.bc:BehaviouralCloning",
        "Algorithm.cloning.config:CloningConfig",
        paper_name="bc",
        labels_live=False,
        paper_column=5,
        counts="gradient steps",
    ),
    Method(
        "Dagger_phase",
        "DAgger",
        "DAgger, from a BC run, a dataset or nothing",
        "cloning",
        ("student", "environments", "labels", "noise", "minibatches", "rounds", "teacher"),
        "Algorithm.cloning.dagger:DAgger",
        "Algorithm.cloning.dagger:DaggerConfig",
        paper_name="dagger",
        paper_column=6,
        counts="gradient steps",
    ),
)
METHODS: Mapping[str, Method] = {method.name: method for method in _ALL}
LEARNERS: Mapping[str, Method] = {m.name: m for m in _ALL if m.family != "collection"}


def get_method(name: str) -> Method:
    """Return the method of that name.

    Raises:
        UserError: there is none; the nearest names are listed.
    """
    if name not in METHODS:
        raise UserError(f"There is no method {name!r}. Did you mean {nearest(name, METHODS)}?")
    return METHODS[name]


def method_title(name: str) -> str:
    """Return the method's title; that of an unknown method is its name."""
    return METHODS[name].title if name in METHODS else name


def is_cloning(name: str) -> bool:
    """Return whether this is a method that learns from labelled data."""
    return name in METHODS and METHODS[name].family == "cloning"


def makes_epochs(name: str) -> bool:
    """Return whether this is a method that learns from each rollout several times."""
    return name in METHODS and METHODS[name].takes("epochs")


def learns_rewards(name: str | None) -> bool:
    """Return whether the method's critic learns rewards, as that of PPO does."""
    return name is None or name not in METHODS or METHODS[name].learns_rewards


def _load(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)
