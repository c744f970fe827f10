"""The settings of the PPD paper's teachers, as the defaults for the tasks of its suites.

Spigler, "Proximal Policy Distillation", TMLR 2025 (arXiv 2407.15134), table of hyperparameters:
PPO, a constant learning rate, rewards normalised. Its teachers are the only PPO agents here whose
learning rate does not fall.
"""

from __future__ import annotations

from dataclasses import replace

from Common.errors import UserError
from Enviroment.task import Task
from Train_Teacher.config import (
    Algo,
    PPOTeacherConfig,
    SACTeacherConfig,
    TeacherConfig,
    TeacherRun,
    default_settings,
)

_PAPER = PPOTeacherConfig(
    total_timesteps=10_000_000,
    num_envs=18,
    n_steps=256,
    batch_size=512,
    n_epochs=4,
    gamma=0.995,
    gae_lambda=0.9,
    ent_coef=0.01,
    learning_rate=3e-4,
    final_learning_rate=3e-4,
    net_arch=(256, 256),
    activation="ReLU",
    norm_reward=True,
)
_ATARI = replace(_PAPER, net_arch=(256,))  # after an IMPALA-CNN
_PROCGEN = replace(_ATARI, total_timesteps=30_000_000, n_steps=512)
# Of the MuJoCo suite, these two have the rollouts and the entropy bonus of Atari.
_LIKE_ATARI = ("Swimmer", "Hopper")
_MUJOCO = replace(_PAPER, n_steps=512, ent_coef=0.0)

# Not the paper's: SB3's own settings, with a gradient step for each env step.
_SAC = SACTeacherConfig(
    total_timesteps=1_000_000,
    num_envs=8,
    gradient_steps=8,
    gamma=0.99,
    learning_rate=3e-4,
    final_learning_rate=3e-4,
    net_arch=(256, 256),
)


def default_algo(task: Task) -> Algo:
    """The algorithm without `--algo`: the paper's teachers are PPO agents."""
    return "ppo" if task.suite else "sac"


def default_run(task: Task, algo: Algo) -> TeacherRun:
    """What `Train_Teacher/<task's script> --algo <algo>` does where no flag says otherwise.

    Raises:
        UserError: the algorithm cannot act in this task.
    """
    if not task.suite:
        return TeacherRun(algo=algo, settings=default_settings(task.name, algo))
    # Episodes have up to 1,000 steps, or many more in Atari: rarer and shorter evaluations keep
    # their share of the time below a tenth.
    every = 250_000 if algo in ("ppo", "sac") else 25_000  # of far shorter trainings
    return TeacherRun(algo=algo, settings=_settings(task, algo), eval_every=every, eval_episodes=20)


def _settings(task: Task, algo: Algo) -> TeacherConfig:
    if algo != "ppo" and task.is_game:
        why = "SAC has no discrete actions" if algo == "sac" else f"{algo} sees no frames here"
        raise UserError(f"{why}, as {task.name} needs: --algo ppo.")
    if algo == "sac":
        return _SAC
    if algo != "ppo":
        return default_settings(task.name, algo)
    if task.suite == "procgen":
        return _PROCGEN
    if task.suite == "atari":
        return _ATARI
    if task.suite == "mujoco" and task.name not in _LIKE_ATARI:
        return _MUJOCO
    return _PAPER
