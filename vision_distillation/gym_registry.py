"""The ids of the tasks in Gymnasium: `vision_distillation/<task>-v0`."""

from __future__ import annotations

import gymnasium as gym

from Enviroment.tasks import TASKS

NAMESPACE = "vision_distillation"
_MODULE = "vision_distillation.gym_envs"


def register_tasks() -> None:
    """Register every task. A second call does nothing."""
    for name in TASKS:
        env_id = f"{NAMESPACE}/{name}-v0"
        if env_id not in gym.registry:
            gym.register(
                env_id,
                entry_point=f"{_MODULE}:VisionEnv",
                vector_entry_point=f"{_MODULE}:VisionVectorEnv",
                kwargs={"task": name},
            )
