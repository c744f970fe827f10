"""Save an agent of Stable-Baselines3 that imitates a script, which lifts the cube of robosuite.

Usage: python -m benchmarks.environments.lift_agent FOLDER

The script and the agent see the state. The script acts with noise, and the agent learns what it
would have done without. A teacher from rewards alone needs far more env steps, and robosuite makes
about sixty a second on a core.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import gymnasium as gym
import numpy as np
import torch
import tyro

if TYPE_CHECKING:
    from stable_baselines3 import PPO

ENV_ID = "benchmarks.environments.robosuite_lift:Lift-v0"
STEPS = 40  # of an episode; the script needs 24 to lift the cube
EPISODES = 40  # of the script, and as many of the agent
_NOISE = 0.3  # standard deviation on the script's own actions, in half widths of their bounds
_LOG_STD = -2.3  # of the agent's actions, about 0.1
_GRIPPER, _FINGERS = slice(35, 38), slice(46, 48)  # of the robot's 50 measurements
_NEAR, _ABOVE, _HELD, _HIGH = 0.02, 0.08, 0.06, 0.95  # m
_GAIN, _GRADIENT_STEPS, _BATCH = 20.0, 2000, 256


@dataclass(frozen=True)
class Arguments:
    """Arguments of the command."""

    folder: tyro.conf.Positional[Path]  # of agent.zip


def script(cube: np.ndarray, robot: np.ndarray) -> np.ndarray:
    """Return the action that reaches, grasps or lifts: a shift of the gripper, and its fingers.

    It depends on the present alone, so that an agent without memory can imitate it.

    Args:
        cube: its position first.
        robot: its measurements.
    """
    away = (cube[:3] - robot[_GRIPPER]).astype(float)
    width = float(robot[_FINGERS] @ (1.0, -1.0))
    action = np.zeros(7)
    action[:2] = _GAIN * away[:2]
    if np.linalg.norm(away) < _NEAR:
        action[6] = 1  # close
        if width < _HELD:
            action[2] = _GAIN / 2 * (_HIGH - float(robot[_GRIPPER][2]))
    else:
        action[6] = -1  # open
        aside = float(np.hypot(*away[:2])) > _NEAR
        action[2] = _GAIN * (away[2] + (_ABOVE if aside else 0))
    return np.clip(action, -1, 1).astype(np.float32)


def main(folder: Path) -> None:
    """Write `folder/agent.zip`, and print how often the script and the agent lift the cube."""
    from stable_baselines3 import PPO

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    shape = {"net_arch": [256, 256], "log_std_init": _LOG_STD}
    with contextlib.closing(gym.make(ENV_ID, max_episode_steps=STEPS)) as env:
        agent = PPO("MultiInputPolicy", env, policy_kwargs=shape, seed=0, device="cpu")
        shown = _play(env, None, first_seed=0)
        print(
            f"The script, with noise, lifts in {shown.lifted} of {EPISODES} episodes.", flush=True
        )
        imitate(agent, np.stack(shown.states), np.stack(shown.actions))
        agent.save(folder / "agent.zip")
        played = _play(env, agent, first_seed=EPISODES)
        print(f"The agent lifts in {played.lifted} of {EPISODES} other episodes.")


@dataclass(frozen=True)
class _Episodes:
    states: list[np.ndarray]
    actions: list[np.ndarray]  # of the script
    lifted: int  # episodes at whose end the cube is up


def _play(env: gym.Env, agent: PPO | None, first_seed: int) -> _Episodes:
    """Play episodes of the agent; without one, of the script with noise on its actions."""
    random = np.random.default_rng(first_seed)
    states, actions, lifted = [], [], 0
    for seed in range(first_seed, first_seed + EPISODES):
        seen, _ = env.reset(seed=seed)
        info = {}
        for _ in range(STEPS):
            wanted = script(seen["cube"], seen["robot"])
            states.append(np.concatenate([seen["cube"], seen["robot"]]))
            actions.append(wanted)
            if agent is None:
                action = wanted + _NOISE * random.standard_normal(7)
            else:
                action, _ = agent.predict(seen, deterministic=True)
            seen, _, _, _, info = env.step(np.clip(action, -1, 1).astype(np.float32))
        lifted += info["is_success"]
    return _Episodes(states, actions, lifted)


def imitate(agent: PPO, states: np.ndarray, actions: np.ndarray) -> None:
    """Fit the mean of the agent's actions to those of the states, from scratch."""
    x, y = torch.as_tensor(states), torch.as_tensor(actions)
    mean, scale = x.mean(0), x.std(0) + 1e-3
    # Distances of a centimetre matter, so that the network learns from scaled states.
    inputs = (x - mean) / scale
    hidden, last = agent.policy.mlp_extractor.policy_net, agent.policy.action_net
    net = torch.nn.Sequential(hidden, last)
    for layer in net.modules():
        if isinstance(layer, torch.nn.Linear):
            layer.reset_parameters()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _GRADIENT_STEPS)
    for _ in range(_GRADIENT_STEPS):
        rows = torch.randint(len(x), (_BATCH,))
        loss = torch.nn.functional.mse_loss(net(inputs[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():  # the first layer takes states as they are
        first = next(layer for layer in hidden.modules() if isinstance(layer, torch.nn.Linear))
        first.weight.div_(scale)
        first.bias.sub_(first.weight @ mean)


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__).folder)
