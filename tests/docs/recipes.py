"""A sample of everything that CONTRIBUTING.md tells how to add, as the files that it touches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Recipe:
    """New files, and insertions into files that are there."""

    most_files: int
    new: Mapping[str, str] = field(default_factory=dict)  # text by path
    # By path: pairs of a text that is there, and what is put after it.
    after: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)

    @property
    def files(self) -> tuple[str, ...]:
        """The paths of all of them."""
        return (*self.new, *self.after)

    def follow(self, root: Path) -> None:
        """Do in a checkout what the recipe says."""
        for path, text in self.new.items():
            assert not (root / path).exists()
            (root / path).write_text(text)
        for path, additions in self.after.items():
            text = (root / path).read_text()
            for place, addition in additions:
                assert text.count(place) == 1, f"{path} has {place!r} {text.count(place)} times"
                text = text.replace(place, place + addition)
            (root / path).write_text(text)


RECIPES = {
    "A method": Recipe(
        most_files=3,
        new={
            "Algorithm/on_policy/mean_distill.py": '''
"""Regression of the student's means to the teacher's."""

from Algorithm.on_policy.distill import StudentDistill
from Algorithm.on_policy.losses import Losses, value_loss


class MeanDistill(StudentDistill):
    """minimise mean |mu_S - mu_T|^2 + c mean (V_S - R)^2 where the student acts."""

    def minibatch_losses(self, student, values, batch):
        mse = (student.mode() - batch.teacher.mode()).square().sum(-1).mean()
        critic = self.vf_coef * value_loss(values, batch.returns)
        return Losses(mse + critic, {"mse": mse}, critic)
'''
        },
        after={
            "Algorithm/method_registry.py": (
                (
                    "_ALL = (\n",
                    """    Method(
        "MeanDistill",
        "mean-distill",
        "the student's means regress to the teacher's",
        "on_policy",
        (*_ROLLOUTS, "teacher"),
        "Algorithm.on_policy.mean_distill:MeanDistill",
        "Algorithm.on_policy.config:DistillConfig",
    ),
""",
                ),
            )
        },
    ),
    "An encoder": Recipe(
        most_files=2,
        new={
            "Models/networks/averages.py": '''
"""An encoder that sees averages of the frames alone."""

import torch.nn.functional as F
from torch import nn

from Models.networks.impala import Encoder


class Averages(Encoder):
    """Each channel, averaged to a grid -> a linear layer."""

    def __init__(self, shape, settings):
        super().__init__()
        self.side, self.features_dim, self.precision = settings.pooling, 32, "float32"
        self.linear = nn.Linear(shape[0] * self.side**2, self.features_dim)

    def forward(self, frames):
        x = F.adaptive_avg_pool2d(frames.float() / 255, self.side)
        return self.linear(x.flatten(1))  # (B, C, side, side) -> (B, C * side * side)
'''
        },
        after={
            "Models/networks/encoders.py": (
                (
                    "ENCODERS: Mapping[str, EncoderKind] = {\n",
                    '    "Averages": EncoderKind("Models.networks.averages:Averages"),\n',
                ),
            )
        },
    ),
    "A flag": Recipe(
        most_files=2,
        after={
            "Distillation/flags/groups.py": (
                (
                    "# weight of the entropy bonus\n",
                    "    adam_weight_decay: Annotated[float, ROLLOUTS] = 0.0  # of every weight\n",
                ),
            ),
            "Distillation/methods.py": (
                ('"optimizer_kwargs": {', '"weight_decay": training.adam_weight_decay, '),
            ),
        },
    ),
    "A task": Recipe(
        most_files=3,
        new={
            f"{folder}/Poke.py": f'''
"""Pusher-v5, seen from the side."""

from {folder}.command import main

if __name__ == "__main__":
    main("Poke")
'''
            for folder in ("Distillation", "Train_Teacher")
        },
        after={
            "Enviroment/tasks.py": (
                (
                    "_ARM_TASKS = (\n",
                    """    Task(
        name="Poke",
        env_id="Pusher-v5",
        camera=Camera(distance=1.5, lookat=(0.4, -0.2, -0.3), azimuth=180, elevation=-30),
        proprio=((0, 17),),
        distance=Distance("object_goal_distance", (17, 19), (20, 22), success_below=0.05),
        frame_size=(64, 64),
    ),
""",
                ),
            )
        },
    ),
    "A figure": Recipe(
        most_files=2,
        after={
            "Evaluation/metrics.py": (
                (
                    "    for metric in (\n",
                    """        Metric(
            "episode_length", "steps per episode", ".1f", evaluated="length", columns=("table",)
        ),
""",
                ),
            )
        },
    ),
}
