"""The registry of methods, read by the command line, grids, tables, curves and the report.

To add a method, write a module with its loss and class, and add an entry here. This module does not
import torch, so that a command line can be parsed quickly.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

from Common.lazy import import_name

Family = Literal["on_policy", "cloning", "collection"]


@dataclass(frozen=True)
class Method:
    """The declaration of a method."""

    name: str  # in its flag and in configurations
    title: str  # in tables and legends
    summary: str  # one line for --help
    family: Family  # the loop that runs it
    options: tuple[str, ...]  # groups of flags that it takes, besides those of every method
    algorithm: str = ""  # "module:Class"; "" if no student learns
    config: str = ""  # "module:Class" of its settings
    settings: Mapping[str, Any] = field(default_factory=dict)  # fixed settings of this method
    paper_name: str = ""  # in tables with the layout of the PPD paper
    paper_column: int = 0  # its position in those tables
    has_teacher: bool = True  # whether it learns from a teacher
    labels_live: bool = True  # whether the teacher labels during training
    learns_rewards: bool = True  # False: its critic regresses to the teacher's values
    counts: Literal["env steps", "gradient steps"] = "env steps"  # unit of its logging points
    follows: str = ""  # the method that may come before it in one command, as a phase

    def takes(self, option: str) -> bool:
        """Return whether the method takes a group of flags."""
        return option in self.options

    def load_algorithm(self) -> Any:
        """Return the class that trains a student with this method."""
        return import_name(self.algorithm)

    def load_config(self) -> Any:
        """Return the dataclass of the method's settings."""
        return import_name(self.config)


_ROLLOUTS = ("student", "initial", "rollouts", "environments")

_ALL = (
    Method(
        "PPD",
        "PPD",
        "Proximal Policy Distillation: PPO plus a KL to the teacher",
        "on_policy",
        (*_ROLLOUTS, "minibatches", "epochs", "kl", "lambda", "teacher"),
        "Algorithm.on_policy.ppd:PPD",
        "Algorithm.on_policy.config:PPDConfig",
        paper_name="ppd",
        paper_column=4,
    ),
    Method(
        "Sdistillation",
        "student-distill",
        "student-distill: the student acts and regresses to the teacher",
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
        "teacher-distill: the teacher acts and the student regresses to it",
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
        "the same student with PPO, without a teacher",
        "on_policy",
        (*_ROLLOUTS, "minibatches", "epochs"),
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
        "no student: collect a dataset of the teacher's observations and actions",
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
        follows="C_data",
    ),
    Method(
        "Dagger_phase",
        "DAgger",
        "DAgger, from a BC run, from a dataset or from scratch",
        "cloning",
        ("student", "environments", "labels", "noise", "minibatches", "rounds", "teacher"),
        "Algorithm.cloning.dagger:DAgger",
        "Algorithm.cloning.config:DaggerConfig",
        paper_name="dagger",
        paper_column=6,
        counts="gradient steps",
        follows="BC_phase",
    ),
)
METHODS: Mapping[str, Method] = {method.name: method for method in _ALL}
LEARNERS: Mapping[str, Method] = {m.name: m for m in _ALL if m.family != "collection"}


def in_order(names: Collection[str]) -> tuple[str, ...]:
    """Return methods as consecutive phases of one run; empty if they cannot be that.

    Args:
        names: at least one method, in any order.
    """
    phases = [name for name in METHODS if name in names]
    follow = all(METHODS[b].follows == a for a, b in pairwise(phases))
    return tuple(phases) if follow else ()


def method_title(name: str) -> str:
    """Return the title of a method; the name itself if the method is unknown."""
    return METHODS[name].title if name in METHODS else name


def is_cloning(name: str) -> bool:
    """Return whether the method learns from labelled data."""
    return name in METHODS and METHODS[name].family == "cloning"


def makes_epochs(name: str) -> bool:
    """Return whether the method trains several epochs per rollout."""
    return name in METHODS and METHODS[name].takes("epochs")


def learns_rewards(name: str | None) -> bool:
    """Return whether the method's critic learns rewards, as in PPO."""
    return name is None or name not in METHODS or METHODS[name].learns_rewards
