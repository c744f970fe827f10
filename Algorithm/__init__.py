"""How a student learns."""

from Algorithm.cloning import BehaviouralCloning
from Algorithm.dagger import DAgger
from Algorithm.distill import StudentDistill, TeacherDistill
from Algorithm.drop_in import ProximalPolicyDistillation
from Algorithm.policy_gradient import REINFORCE, ActorCritic
from Algorithm.ppd import PPD

__all__ = [
    "PPD",
    "REINFORCE",
    "ActorCritic",
    "BehaviouralCloning",
    "DAgger",
    "ProximalPolicyDistillation",
    "StudentDistill",
    "TeacherDistill",
]
