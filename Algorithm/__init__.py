"""The learning algorithms: PPD and other distillation from rollouts, cloning, policy gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from Common.lazy import lazy

if TYPE_CHECKING:
    from Algorithm.cloning.bc import BehaviouralCloning
    from Algorithm.cloning.config import CloningConfig
    from Algorithm.cloning.dagger import DAgger
    from Algorithm.cloning.samples.data import TeacherSamples
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
# Lazily, so that the command line reads this package's registry of methods without torch.
__getattr__ = lazy(
    __name__,
    {
        "cloning.bc": ("BehaviouralCloning",),
        "cloning.config": ("CloningConfig",),
        "cloning.dagger": ("DAgger",),
        "cloning.samples.data": ("TeacherSamples",),
        "on_policy.config": ("DistillConfig", "PPDConfig"),
        "on_policy.distill": ("StudentDistill", "TeacherDistill"),
        "on_policy.drop_in": ("ProximalPolicyDistillation",),
        "on_policy.ppd": ("PPD",),
        "policy_gradient.methods": ("REINFORCE", "ActorCritic"),
    },
)
