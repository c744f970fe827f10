"""Flags of `python -m Models.teacher convert`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from Models.sb3.softening import Softening


@dataclass(frozen=True)
class Convert:
    """Convert an SB3 zip to a teacher's bundle, without running code from the zip."""

    archive: tyro.conf.Positional[str]
    """SB3's zip file, or hf://OWNER/REPOSITORY[@REVISION] on the Hugging Face Hub"""
    task: str
    """task that the agent was trained on, or the Gymnasium id of its environment, which need not be
    installed"""
    output: Path
    """folder of the bundle; it must not hold one already"""
    env_kwargs: tuple[str, ...] = ()
    """arguments of an own environment, NAME=VALUE, as for its students"""
    wrapper: str = ""
    """package:Class of wrappers of an own environment, as for its students"""
    vecnormalize: Path | None = None
    """file of VecNormalize.save, if the agent was trained on normalised observations"""
    trust: tuple[str, ...] = ()
    """SHA-256 of files that may be unpickled, which runs the code in them"""
    action_std: float = Softening.action_std
    """TD3, DDPG, ARS: standard deviation around the action, in half widths of its bounds"""
    temperature: float = Softening.temperature
    """DQN, QRDQN, ARS: the policy is softmax(Q / temperature); ARS has scores instead of Q"""
    corrupt_teacher: float = 0.0
    """standard deviation of noise on every parameter; 0.05 for the paper's imperfect teachers"""
    corrupt_seed: int = 0
    """seed of that noise"""
