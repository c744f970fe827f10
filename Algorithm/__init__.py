"""The learning algorithms: PPD and other distillation from rollouts, cloning, policy gradients."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from Algorithm.cloning.bc import BehaviouralCloning
    from Algorithm.cloning.config import CloningConfig
    from Algorithm.cloning.dagger import DAgger
    from Algorithm.cloning.data import TeacherSamples
    from Algorithm.on_policy.config import DistillConfig, PPDConfig
    from Algorithm.on_policy.distill import StudentDistill, TeacherDistill
    from Algorithm.on_policy.drop_in import ProximalPolicyDistillation
    from Algorithm.on_policy.ppd import PPD
    from Algorithm.policy_gradient.methods import REINFORCE, ActorCritic

__all__ = [
    "PPD",
    "REINFORCE",
    "ActorCritic",
    "BehaviouralCloning",
    "CloningConfig",
    "DAgger",
    "DistillConfig",
    "PPDConfig",
    "ProximalPolicyDistillation",
    "StudentDistill",
    "TeacherDistill",
    "TeacherSamples",
]
# The module of each class. They are imported lazily, so that the command line can read this
# package's registry of methods without importing torch.
_MODULES = {
    "cloning.bc": ("BehaviouralCloning",),
    "cloning.config": ("CloningConfig",),
    "cloning.dagger": ("DAgger",),
    "cloning.data": ("TeacherSamples",),
    "on_policy.config": ("DistillConfig", "PPDConfig"),
    "on_policy.distill": ("StudentDistill", "TeacherDistill"),
    "on_policy.drop_in": ("ProximalPolicyDistillation",),
    "on_policy.ppd": ("PPD",),
    "policy_gradient.methods": ("REINFORCE", "ActorCritic"),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"Algorithm.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
