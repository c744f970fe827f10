"""How a student learns."""

from Algorithm.cloning.bc import BehaviouralCloning
from Algorithm.cloning.config import CloningConfig
from Algorithm.cloning.dagger import DAgger
from Algorithm.cloning.data import TeacherSamples
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
    "ProximalPolicyDistillation",
    "StudentDistill",
    "TeacherDistill",
    "TeacherSamples",
]
