"""States, rewards and ends of Gymnasium's tasks, as torch functions of a simulation's arrays.

Each is the code of `gymnasium.envs.mujoco` for one environment, written for all worlds at once.
Numbers are float32 there, float64 in Gymnasium.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from Common.errors import UserError
from Enviroment.task import Task


@dataclass(frozen=True)
class Moment:
    """The arrays of all worlds that rules read, without copies."""

    qpos: Tensor  # (n, nq)
    qvel: Tensor  # (n, nv)
    xpos: Tensor  # (n, nbody, 3), m; from the last substep's start, as in MuJoCo after `mj_step`
    bodies: Mapping[str, int]  # index by name
    seconds: float  # of an env step

    def body(self, name: str) -> Tensor:
        """Return the positions of a body, `(n, 3)` in metres."""
        return self.xpos[:, self.bodies[name]]


@dataclass(frozen=True)
class Rules:
    """A task's observations, rewards and ends.

    `reward` and `terminated` are of the step that led to the moment.
    """

    env_id: str  # of Gymnasium
    state: Callable[[Moment], Tensor]  # (n, state_dim)
    # from the moment after the step, the actions (n, nu), and qpos before the step
    reward: Callable[[Moment, Tensor, Tensor], Tensor]  # (n,)
    terminated: Callable[[Moment], Tensor] | None = None  # bool (n,); None: never
    # Of the floor in frames; None: the model's. OpenGL lights the corners of a floor and
    # interpolates, mujoco-warp lights each pixel. A highlight between far corners looks wide.
    floor_shininess: float | None = None


def _control(actions: Tensor) -> Tensor:
    return actions.square().sum(1)


def _pusher_state(now: Moment) -> Tensor:
    bodies = [now.body(name) for name in ("tips_arm", "object", "goal")]
    return torch.cat([now.qpos[:, :7], now.qvel[:, :7], *bodies], 1)


def _pusher_reward(now: Moment, actions: Tensor, before: Tensor) -> Tensor:
    near = (now.body("object") - now.body("tips_arm")).norm(dim=1)
    far = (now.body("object") - now.body("goal")).norm(dim=1)
    return -far - 0.1 * _control(actions) - 0.5 * near


def _reacher_state(now: Moment) -> Tensor:
    angles = now.qpos[:, :2]
    difference = (now.body("fingertip") - now.body("target"))[:, :2]
    return torch.cat([angles.cos(), angles.sin(), now.qpos[:, 2:], now.qvel[:, :2], difference], 1)


def _reacher_reward(now: Moment, actions: Tensor, before: Tensor) -> Tensor:
    return -(now.body("fingertip") - now.body("target")).norm(dim=1) - _control(actions)


def _velocity(now: Moment, before: Tensor) -> Tensor:
    return (now.qpos[:, 0] - before[:, 0]) / now.seconds  # m/s


def _hopper_state(now: Moment) -> Tensor:
    return torch.cat([now.qpos[:, 1:], now.qvel.clamp(-10, 10)], 1)


def _hopper_reward(now: Moment, actions: Tensor, before: Tensor) -> Tensor:
    healthy = (~_hopper_fell(now)).float()
    return _velocity(now, before) + healthy - 1e-3 * _control(actions)


def _hopper_fell(now: Moment) -> Tensor:
    height, angle = now.qpos[:, 1], now.qpos[:, 2]
    others = torch.cat([now.qpos[:, 2:], now.qvel], 1)
    healthy = (height > 0.7) & (angle.abs() < 0.2) & (others.abs() < 100).all(1)
    return ~healthy


def _half_cheetah_state(now: Moment) -> Tensor:
    return torch.cat([now.qpos[:, 1:], now.qvel], 1)


def _half_cheetah_reward(now: Moment, actions: Tensor, before: Tensor) -> Tensor:
    return _velocity(now, before) - 0.1 * _control(actions)


RULES = {
    rules.env_id: rules
    for rules in (
        Rules("Pusher-v5", _pusher_state, _pusher_reward),
        Rules("Reacher-v5", _reacher_state, _reacher_reward, floor_shininess=0.12),
        Rules("Hopper-v5", _hopper_state, _hopper_reward, _hopper_fell),
        Rules("HalfCheetah-v5", _half_cheetah_state, _half_cheetah_reward),
    )
}


def rules_of(task: Task) -> Rules:
    """Return the rules of a task.

    Raises:
        UserError: they are not written for its environment.
    """
    rules = RULES.get(task.env_id)
    if rules is None:
        raise UserError(
            f"`simulator` warp has no version of {task.env_id}. It simulates {', '.join(RULES)}. "
            "Use `simulator` gymnasium."
        )
    if task.wrappers or task.env_kwargs:
        what = "wrappers" if task.wrappers else "arguments (`env_kwargs`)"
        raise UserError(
            f"`simulator` warp runs {task.env_id} as registered, without {what}. Use `simulator` "
            "gymnasium, or leave them out."
        )
    return rules
