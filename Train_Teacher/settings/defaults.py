"""Default settings of the teachers of suites, from the PPD paper, and of users' own tasks.

Spigler, "Proximal Policy Distillation", TMLR 2025 (arXiv 2407.15134), table of hyperparameters:
PPO with normalised rewards and a constant learning rate (the other PPO teachers here use linear
decay).
"""

from __future__ import annotations

from dataclasses import replace

from Common.errors import UserError
from Enviroment.task import Task
from Train_Teacher.settings.config import (
    Algo,
    PPOTeacherConfig,
    SACTeacherConfig,
    TeacherConfig,
    TeacherRun,
    TQCTeacherConfig,
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
_ATARI = replace(_PAPER, net_arch=(256,))  # after the IMPALA-CNN
_PROCGEN = replace(_ATARI, total_timesteps=30_000_000, n_steps=512)
# These two of the MuJoCo suite use the rollout length and the entropy bonus of Atari.
_LIKE_ATARI = ("Swimmer", "Hopper")
_MUJOCO = replace(_PAPER, n_steps=512, ent_coef=0.0)

# Not from the paper: SB3's defaults, with one gradient step per env step. In goal-conditioned tasks
# with HER, discount and goals are those of the RL Zoo's Fetch agents.
_SAC = SACTeacherConfig(
    total_timesteps=1_000_000,
    num_envs=8,
    gradient_steps=8,
    gamma=0.99,
    learning_rate=3e-4,
    final_learning_rate=3e-4,
    net_arch=(256, 256),
)
_OFF_POLICY: dict[Algo, SACTeacherConfig] = {"sac": _SAC, "tqc": TQCTeacherConfig(**vars(_SAC))}
# Of users' own tasks: the paper's settings without an entropy bonus, shorter.
_OWN_PPO = replace(_PAPER, total_timesteps=2_000_000, ent_coef=0.0)


def default_algo(task: Task) -> Algo:
    """Return the default of `--algo`: PPO for the suites, as in the paper, else SAC."""
    return "ppo" if task.suite else "sac"


def default_run(task: Task, algo: Algo) -> TeacherRun:
    """Return the default flags of a task and an algorithm.

    Raises:
        UserError: the algorithm does not support this task.
    """
    if not task.suite and not task.custom:
        return TeacherRun(algo=algo, settings=default_settings(task.name, algo))
    # Episodes have up to 1,000 steps, in Atari many more: fewer and shorter evaluations keep their
    # share of the time below a tenth. Other tasks and algorithms train far shorter.
    every = 250_000 if task.suite and algo in ("ppo", *_OFF_POLICY) else 25_000
    return TeacherRun(algo=algo, settings=_settings(task, algo), eval_every=every, eval_episodes=20)


def _settings(task: Task, algo: Algo) -> TeacherConfig:
    if algo != "ppo" and task.is_game:
        acts = f"{algo.upper()} does not support discrete actions"
        why = acts if algo in _OFF_POLICY else f"{algo} has no CNN"
        raise UserError(f"{why}, which {task.name} requires. Use --algo ppo.")
    if algo in _OFF_POLICY and task.custom:
        # Only here, because it imports SB3, and flags are parsed without it.
        from Train_Teacher.settings.goals import goal_groups

        config = _OFF_POLICY[algo]
        has_goals = goal_groups(task) is not None
        return replace(config, gamma=0.95, hindsight_goals=4) if has_goals else config
    if algo in _OFF_POLICY:
        return _OFF_POLICY[algo]
    if algo != "ppo":
        return default_settings(task.name, algo)
    if task.custom:
        return _OWN_PPO
    if task.suite == "procgen":
        return _PROCGEN
    if task.suite == "atari":
        return _ATARI
    if task.suite == "mujoco" and task.name not in _LIKE_ATARI:
        return _MUJOCO
    return _PAPER
