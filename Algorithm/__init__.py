"""How a student learns."""

from Algorithm.cloning import BehaviouralCloning
from Algorithm.dagger import DAgger
from Algorithm.distill import StudentDistill, TeacherDistill
from Algorithm.ppd import PPD, ProximalPolicyDistillation

__all__ = [
    "PPD",
    "BehaviouralCloning",
    "DAgger",
    "ProximalPolicyDistillation",
    "StudentDistill",
    "TeacherDistill",
]
