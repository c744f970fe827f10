"""The MuJoCo model of a task with the task's cameras in it, as mujoco-warp draws from."""

# MuJoCo's compiled modules come without type stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import contextlib
import math
import warnings
from dataclasses import dataclass

import mujoco
import numpy as np
from gymnasium import spaces

from Common.errors import UserError
from Enviroment.cameras import AnyCamera, Camera
from Enviroment.drawing.renderer import find_camera
from Enviroment.simulation.making import limit_of, make_simulation
from Enviroment.task import Task
from Enviroment.worlds.rules import rules_of

_PREFIX = "vision_distillation_"  # of the cameras that are added
# Of the model that Gymnasium steps; another compilation must not change them.
_SAME = ("body_mass", "body_inertia", "geom_size", "jnt_range", "actuator_gear", "dof_damping")


@dataclass(frozen=True)
class WorldModel:
    """What all worlds of a task share."""

    model: mujoco.MjModel
    cameras: tuple[str, ...]  # names in the model, in the order of the task's cameras
    frame_skip: int  # steps of the simulation per env step
    time_limit: int  # env steps
    state_dim: int
    action_space: spaces.Box


def check_task(task: Task, *, draws: bool) -> None:
    """Check that mujoco-warp can simulate the task and, if `draws`, its frames.

    Raises:
        UserError: it cannot.
    """
    rules_of(task)
    if draws:
        _check_frames(task)


def read_model(task: Task, *, draws: bool) -> WorldModel:
    """Return the model of a task, with the cameras of its frames if they are drawn.

    Raises:
        UserError: mujoco-warp cannot simulate the task, or draw its frames.
    """
    check_task(task, draws=draws)
    rules = rules_of(task)
    with contextlib.closing(make_simulation(task)) as env:
        inner, limit = env.unwrapped, limit_of(env)
        spec = mujoco.MjSpec.from_file(inner.fullpath)
        names = []
        for place, camera in enumerate(task.cameras if draws else ()):
            names.append(_place(spec, inner.model, camera, f"{_PREFIX}{place}"))
        if draws and rules.floor_shininess is not None:
            _polish_floors(spec, rules.floor_shininess)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Gymnasium's files have attributes to be removed
            model = spec.compile()
        _check_same(task, inner.model, model)
        assert limit is not None and isinstance(env.action_space, spaces.Box)
        state_dim = int(np.prod(env.observation_space.shape or ()))
        return WorldModel(model, tuple(names), inner.frame_skip, limit, state_dim, env.action_space)


def _check_frames(task: Task) -> None:
    if not task.cameras:
        raise UserError(
            f"Task {task.name}: `simulator` warp draws cameras of MuJoCo only, and this task has "
            "none. Give `camera`, or train a student of the state: `mode` State."
        )
    if task.depth is not None:
        raise UserError("`simulator` warp draws no `depth` yet. Leave it out.")
    for camera in task.cameras:
        if isinstance(camera, Camera) and camera.track is not None:
            raise UserError(
                f"Task {task.name}: its camera follows {camera.track}, and `simulator` warp draws "
                "cameras of the model or fixed ones only. Train a student of the state: `mode` "
                "State."
            )


def _place(spec: mujoco.MjSpec, model: mujoco.MjModel, camera: AnyCamera, name: str) -> str:
    """Add a free camera to the model as a fixed one. Return the name of the camera to draw from.

    Raises:
        UserError: a camera of the model does not exist.
    """
    if not isinstance(camera, Camera):
        find_camera(model, camera.name)
        return camera.name
    position, right, up = pose(camera)
    spec.worldbody.add_camera(
        name=name,
        pos=position,
        xyaxes=[*right, *up],
        fovy=float(model.vis.global_.fovy),
    )
    return name


def _polish_floors(spec: mujoco.MjSpec, shininess: float) -> None:
    """Give planes without a material one of this shininess (see `Rules.floor_shininess`)."""
    for place, geom in enumerate(spec.geoms):
        if geom.type == mujoco.mjtGeom.mjGEOM_PLANE and not geom.material:
            name = f"{_PREFIX}floor_{place}"
            spec.add_material(name=name, rgba=geom.rgba, shininess=shininess, specular=0.5)
            geom.material = name


def pose(camera: Camera) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return position, right and up of MuJoCo's free camera in the world, each `(3,)`."""
    azimuth, ahead = math.radians(camera.azimuth), camera.forward
    right = np.array([math.sin(azimuth), -math.cos(azimuth), 0.0])
    return np.array(camera.lookat) - camera.distance * ahead, right, np.cross(right, ahead)


def _check_same(task: Task, ours: mujoco.MjModel, compiled: mujoco.MjModel) -> None:
    """Raise RuntimeError if compiling with cameras changed the simulation."""
    for name in _SAME:
        if not np.allclose(getattr(ours, name), getattr(compiled, name), rtol=1e-9, atol=1e-12):
            raise RuntimeError(f"{task.env_id}: {name} differs after a camera was added.")
