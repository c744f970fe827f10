"""Map settings of the lower packages to their flags, for error messages."""

from __future__ import annotations

from Distillation.flags.groups import flag_values
from Distillation.flags.resolve import Flags

# Flags of Custom.py that define a task.
CUSTOM_FLAGS = (
    *("env_id", "env_kwargs", "max_episode_steps", "wrapper"),
    *("camera", "frames", "proprio"),
)
FLAG_NAMES = {
    **{flag: flag for flag in flag_values(Flags())},
    **{flag: flag for flag in CUSTOM_FLAGS},
    "n_envs": "num_envs",
    "n_steps": "num_steps",
    "n_epochs": "num_epochs",
    "n_episodes": "eval_episodes",
    "n_workers": "threads",
    "folder": "output",
    "distill_lambda": "PPD_parameter",
    "LambdaSchedule.kind": "lambda_schedule",
    "LambdaSchedule.first": "PPD_parameter",
    "LambdaSchedule.final": "final_lambda",
    "CloningConfig.gradient_steps": "optimization_steps",
    "DaggerConfig.rounds": "rounds",
    "DaggerConfig.env_steps": "round_env_steps",
    "DaggerConfig.gradient_steps": "round_gradient_steps",
}
