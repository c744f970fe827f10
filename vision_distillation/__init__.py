"""The toolkit from Python, described in docs/python.md.

The import registers every task with Gymnasium: `gym.make("vision_distillation/Pusher-v0")`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from Common.lazy import lazy_paths
from vision_distillation.gym_registry import register_tasks

if TYPE_CHECKING:
    from Algorithm.augmentation_config import AugmentationConfig
    from Algorithm.cloning.bc import BehaviouralCloning
    from Algorithm.cloning.config import CloningConfig
    from Algorithm.cloning.dagger import DAgger
    from Algorithm.cloning.samples.array_samples import ArraySamples
    from Algorithm.on_policy.ppd import PPD
    from Common.errors import UserError
    from Enviroment.make import make_env
    from Models.networks.own import register_encoder
    from Models.student.config import StudentConfig
    from Models.student.policy import StudentPolicy
    from Models.teacher.policy import Teacher
    from Sharing.pull.download import pull
    from Sharing.push.upload import push
    from vision_distillation.cloning import clone
    from vision_distillation.evaluation import evaluate
    from vision_distillation.student import Student
    from vision_distillation.training import distil

__all__ = [
    "PPD",
    "ArraySamples",
    "AugmentationConfig",
    "BehaviouralCloning",
    "CloningConfig",
    "DAgger",
    "Student",
    "StudentConfig",
    "StudentPolicy",
    "Teacher",
    "UserError",
    "clone",
    "distil",
    "evaluate",
    "make_env",
    "pull",
    "push",
    "register_encoder",
]
register_tasks()
# Lazily: the environments of Gymnasium need no torch.
__getattr__ = lazy_paths(
    __name__,
    {
        "Algorithm.augmentation_config": ("AugmentationConfig",),
        "Algorithm.cloning.samples.array_samples": ("ArraySamples",),
        "Algorithm.cloning.bc": ("BehaviouralCloning",),
        "Algorithm.cloning.config": ("CloningConfig",),
        "Algorithm.cloning.dagger": ("DAgger",),
        "Algorithm.on_policy.ppd": ("PPD",),
        "Common.errors": ("UserError",),
        "Enviroment.make": ("make_env",),
        "Models.networks.own": ("register_encoder",),
        "Models.student.config": ("StudentConfig",),
        "Models.student.policy": ("StudentPolicy",),
        "Models.teacher.policy": ("Teacher",),
        "Sharing.pull.download": ("pull",),
        "Sharing.push.upload": ("push",),
        "vision_distillation.cloning": ("clone",),
        "vision_distillation.evaluation": ("evaluate",),
        "vision_distillation.student": ("Student",),
        "vision_distillation.training": ("distil",),
    },
)


def __dir__() -> list[str]:
    """Return the public names, for completion in notebooks."""
    return sorted(__all__)
