"""Read cameras from the text of `--camera`, and choose views and ranges that fit a model."""

# MuJoCo's compiled modules come without type stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import mujoco
import numpy as np

from Common.errors import UserError
from Common.names import nearest
from Enviroment.cameras import AnyCamera, Camera, DepthRange, ModelCamera
from Enviroment.drawing.env_view import check_cameras
from Enviroment.drawing.renderer import body_names, camera_names, find_body, list_cameras

DEFAULT = "default"  # the cameras that a task has by itself
_AZIMUTH, _ELEVATION = 90.0, -20.0  # degrees, from the side and a little from above
_NUMBERS = ("distance", "x", "y", "z", "azimuth", "elevation")
_POSES = 200  # random poses of the joints, of which a default view shows every one
_MARGIN = 0.1  # of a range of depth, added at both ends
_PLANE = int(mujoco.mjtGeom.mjGEOM_PLANE)


def parse_cameras(
    text: str, model: mujoco.MjModel, default: Sequence[AnyCamera] = ()
) -> tuple[AnyCamera, ...]:
    """Return the cameras of a text, in their order, separated by commas.

    A name is that of a camera of the model, else of a body that a free camera follows; `default`
    stands for the cameras in `default`, if there are any. All `key=value` pairs together describe
    one free camera, see `parse_camera`.

    Raises:
        UserError: the text is not a list of cameras, or the model has no such camera or body.
    """
    pairs = [part.strip() for part in text.split(",") if "=" in part]
    cameras: list[AnyCamera] = []
    pairs_read = False
    for part in (part.strip() for part in text.split(",")):
        if part == DEFAULT and default:
            cameras += default
        elif part in camera_names(model):
            cameras.append(ModelCamera(part))
        elif "=" not in part:
            cameras.append(_following(text, part, model))
        elif not pairs_read:
            pairs_read = True
            cameras.append(parse_camera(",".join(pairs), model))
    return tuple(cameras)


def parse_camera(text: str, model: mujoco.MjModel) -> Camera:
    """Return a free camera from `key=value` pairs, in any order, separated by commas.

    Keys: distance, x, y, z (the point it looks at, in metres), azimuth, elevation (degrees) and
    track, the name of a body. Missing values are chosen so that the tracked body and its
    descendants stay in the frame however their joints turn; without `track`, the whole scene except
    its floors. A single name is the body to track.

    Raises:
        UserError: the text is not a camera, or the model has no such body.
    """
    values = _camera_values(text)
    track = values.pop("track", None)
    centre, distance = default_view(model, None if track is None else find_body(model, track))
    numbers = {key: _number(text, key, value) for key, value in values.items()}
    if numbers.get("distance", 1.0) <= 0:
        raise UserError(f"`camera` {text!r}: the distance must be above 0.")
    return Camera(
        distance=numbers.get("distance", distance),
        lookat=tuple(numbers.get(key, centre[i]) for i, key in enumerate("xyz")),  # pyright: ignore[reportArgumentType]
        azimuth=numbers.get("azimuth", _AZIMUTH),
        elevation=numbers.get("elevation", _ELEVATION),
        track=track,
    )


def _following(text: str, name: str, model: mujoco.MjModel) -> Camera:
    if name and name in body_names(model):
        return parse_camera(name, model)
    if not name:
        raise UserError(f"`camera` {text!r}: a name is empty. Give names, separated by commas.")
    near = nearest(name, [*camera_names(model), *body_names(model)])
    raise UserError(
        f"`camera` {text!r}: the model has no camera {name!r}, and no such body that a camera "
        f"could follow. {list_cameras(model)} Did you mean {near}?"
    )


def _camera_values(text: str) -> dict[str, str]:
    if "=" not in text and text.strip():
        return {"track": text.strip()}
    values: dict[str, str] = {}
    for part in text.split(","):
        key, separator, value = (piece.strip() for piece in part.partition("="))
        if not separator or not value or key not in (*_NUMBERS, "track") or key in values:
            raise UserError(
                f"`camera` {text!r}: {part.strip()!r} is not valid. Give, each once, any of "
                f"{', '.join(f'{name}=NUMBER' for name in _NUMBERS)} and track=BODY, separated by "
                "commas; or only names of cameras and bodies."
            )
        values[key] = value
    return values


def _number(text: str, key: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"`camera` {text!r}: {key} {value!r} is not a number.")
    return number


# -- views and ranges that fit a model -----------------------------------------------------------


def default_view(
    model: mujoco.MjModel, body: int | None
) -> tuple[tuple[float, float, float], float]:
    """Return a view that shows a body and its descendants, or the whole scene.

    It shows them in the model's initial pose and in random poses of their joints, so that a limb
    that turns stays in the frame. What moves freely (a free joint, or slides without limits) stays
    in its place: the view follows it if it is the body, and not otherwise.

    Returns: lookat in metres, relative to the body in x and y if there is one; distance in metres.
    """
    seen = model.geom_type != _PLANE
    if body is not None:
        seen &= model.body_rootid[model.geom_bodyid] == model.body_rootid[body]
    if not seen.any():
        return (0.0, 0.0, 0.0), float(model.stat.extent)
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    radii = model.geom_rbound[seen, None]
    for data in _poses(model):
        places = data.geom_xpos[seen]
        if body is not None:
            places = places - [*data.xpos[body, :2], 0.0]
        low = np.minimum(low, (places - radii).min(axis=0))
        high = np.maximum(high, (places + radii).max(axis=0))
    centre = (low + high) / 2
    distance = np.linalg.norm(high - low) / 2 / math.sin(math.radians(model.vis.global_.fovy) / 2)
    if body is not None:
        # The frame is centred on the body: it must reach the farther side of the box.
        reach = np.maximum(np.abs(low), np.abs(high))
        half = np.array([*reach[:2], (high[2] - low[2]) / 2])
        distance = np.linalg.norm(half) / math.sin(math.radians(model.vis.global_.fovy) / 2)
        centre[:2] = 0.0
    x, y, z = (round(float(value), 3) for value in centre)
    return (x, y, z), round(float(distance), 3)


def _poses(model: mujoco.MjModel) -> list[mujoco.MjData]:
    """Return the initial pose, then random poses of the joints, always the same."""
    turned = _turned_joints(model)
    poses, rng = [mujoco.MjData(model)], np.random.default_rng(0)
    for _ in range(_POSES if len(turned) else 0):
        data = mujoco.MjData(model)
        for joint, low, high in turned:
            data.qpos[model.jnt_qposadr[joint]] = rng.uniform(low, high)
        poses.append(data)
    for data in poses:
        mujoco.mj_kinematics(model, data)
    return poses


def _turned_joints(model: mujoco.MjModel) -> list[tuple[int, float, float]]:
    """Return the hinges and slides of limbs, and their ranges (rad or m)."""
    kinds, limited = model.jnt_type, model.jnt_limited.astype(bool)
    slides = kinds == int(mujoco.mjtJoint.mjJNT_SLIDE)
    hinges = kinds == int(mujoco.mjtJoint.mjJNT_HINGE)
    # A body that slides without limits is the base of a planar robot: it moves, but is no limb.
    bases = set(model.jnt_bodyid[slides & ~limited].tolist())
    turned = []
    for joint in np.flatnonzero(hinges | slides).tolist():
        if limited[joint]:
            turned.append((joint, *map(float, model.jnt_range[joint])))
        elif hinges[joint] and int(model.jnt_bodyid[joint]) not in bases:
            turned.append((joint, -math.pi, math.pi))
    return turned


def parse_depth_range(text: str) -> DepthRange:
    """Return the range of a text NEAR:FAR in metres.

    Raises:
        UserError: it is not a range.
    """
    match = re.fullmatch(r"\s*(\d*\.?\d+)\s*:\s*(\d*\.?\d+)\s*", text)
    if match is None:
        raise UserError(f"`depth_range` {text!r}: give NEAR:FAR in metres, such as 0.3:1.5.")
    return DepthRange(float(match[1]), float(match[2]))


def default_depth_range(model: mujoco.MjModel, cameras: Sequence[AnyCamera]) -> DepthRange:
    """Return a range that shows all geoms in front of any of the cameras, in the initial pose.

    A tenth of it is added at both ends, for what moves. Floors do not count: what lies behind is
    255. Distances are rounded outwards to centimetres, and begin at the near clipping plane.

    Raises:
        UserError: the model lacks a camera.
    """
    check_cameras(tuple(cameras), model)
    clip = float(model.vis.map.znear * model.stat.extent)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    seen = model.geom_type != _PLANE
    near, far = math.inf, 0.0
    for camera in cameras:
        eye, forward = _pose_of(camera, model, data)
        along = (data.geom_xpos[seen] - eye) @ forward  # (geoms,), m
        radii = model.geom_rbound[seen]
        in_front = along + radii > clip
        if in_front.any():
            near = min(near, float((along - radii)[in_front].min()))
            far = max(far, float((along + radii)[in_front].max()))
    if not far:
        return DepthRange(round(clip, 3), round(clip + float(model.stat.extent), 3))
    margin = _MARGIN * (far - near)
    near = max(math.floor(100 * (near - margin)) / 100, round(clip, 3))
    return DepthRange(near, max(math.ceil(100 * (far + margin)) / 100, near + 0.01))


def _pose_of(
    camera: AnyCamera, model: mujoco.MjModel, data: mujoco.MjData
) -> tuple[np.ndarray, np.ndarray]:
    """Return the place (3,) of a camera in metres, and its direction (3,)."""
    if isinstance(camera, ModelCamera):
        index = model.camera(camera.name).id
        return data.cam_xpos[index], -data.cam_xmat[index].reshape(3, 3)[:, 2]
    lookat = np.array(camera.lookat)
    if camera.track is not None:
        lookat[:2] += data.xpos[find_body(model, camera.track), :2]
    return lookat - camera.distance * camera.forward, camera.forward
