"""Render one environment with its own current model and its own render callback."""

# MuJoCo's compiled modules come without type stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np

from Enviroment.cameras import AnyCamera, Camera
from Enviroment.drawing.dressing import Dressing
from Enviroment.drawing.looks import EpisodeLooks, Looks
from Enviroment.drawing.renderer import Renderer, find_body, find_camera
from Enviroment.drawing.uploaded import Glance, UploadedModel

_SPARE_GEOMS = 1000  # of a scene: contacts, frames and other objects of visual options
_MOVED = ("body_", "geom_", "site_", "tendon_", "mat_", "light_", "cam_")  # by callbacks
_SLACK_SEGMENTS = 32  # of which MuJoCo draws a slack tendon


class EnvView:
    """Renders one environment with a renderer that other views of its thread may share.

    A frame equals `env.render()` at that moment, from the renderer's cameras: with the current
    colours, sizes, lights and textures, a rebuilt model, goals that the environment marks in its
    `_render_callback` (gymnasium-robotics), and Gymnasium's `visual_options`. Rendering does not
    change the simulation, so episodes are the same with and without it.

    With `looks`, frames differ from `env.render()` by the random looks of the episode (`begin`).
    The environment's own model keeps its looks.

    Args:
        env: an environment with a `model` and `data` of MuJoCo.
        renderer: the renderer of this thread.
        looks: those of the episodes; None: the environment's own.

    Raises:
        UserError: the model lacks a camera, or the body that a camera tracks, or the machine has
            no usable OpenGL.
    """

    def __init__(self, env: gym.Env, renderer: Renderer, looks: EpisodeLooks | None = None) -> None:
        self._env: Any = env.unwrapped
        self._renderer = renderer
        self._of_episodes = looks
        self._looks: Looks | None = None  # of the episode
        self._callback: Callable[[], object] | None = getattr(self._env, "_render_callback", None)
        self._option = _visual_options(self._env)
        self._perturbation = mujoco.MjvPerturb()
        self._uploaded: UploadedModel | None = None
        self._follow(self._env.model)

    def begin(self, seed: int) -> None:
        """Begin an episode, or continue in the midst of one, with the looks of its seed.

        Until the first call, an environment has its own looks.
        """
        if self._of_episodes is not None:
            self._looks = self._of_episodes.of_episode(seed)
            self._dressing = self._dressed()
        self.expect_changes()

    def expect_changes(self) -> None:
        """Compare the complete model at the next frame, because a reset may have changed it.

        Between resets, only samples of large textures and meshes are compared.
        """
        self._unsure = True

    def render(self) -> np.ndarray:
        """Render the current state of the environment from the first camera, without depth.

        Returns:
            As `Renderer.draw`.
        """
        with self._current() as (model, data):
            self._look(model, data, 0)
            assert self._uploaded is not None
            return self._renderer.draw(self._scene, self._uploaded)

    def render_into(self, frame: np.ndarray) -> None:
        """Render the current state from all cameras into `frame`, uint8 (channels, H, W).

        The channels are those of a time step, in the order of `Enviroment.cameras`.
        """
        # (cameras * channels, H, W) -> (cameras, channels, H, W), without a copy
        parts = frame.reshape(len(self._sights), -1, *frame.shape[1:])
        with self._current() as (model, data):
            for index, part in enumerate(parts):
                self._look(model, data, index)
                assert self._uploaded is not None
                self._renderer.draw_channels(self._scene, self._uploaded, part)

    @contextlib.contextmanager
    def _current(self) -> Iterator[tuple[mujoco.MjModel, mujoco.MjData]]:
        """Bring OpenGL's memory up to date, and return the model and the data to be drawn."""
        model, data = self._env.model, self._env.data
        if model is not self._model:
            self._follow(model)
        with contextlib.ExitStack() as stack:
            if self._callback is not None:
                if self._kept is None or self._kept.data is not data:
                    self._kept = _Kept(model, data)
                stack.enter_context(self._kept.undisturbed())
                self._kept.call(self._callback)
            if self._unsure or self._glance.sees_change():
                dressing = self._dressing
                shown = model if dressing is None else dressing.textured(model)
                self._uploaded = self._renderer.upload(shown, self._uploaded)
                self._glance.remember()
                self._unsure = False
            if not data.xquat[0, 0]:  # of the world's body: 1 as soon as positions are computed
                data = _placed(model, data)
            yield model, data

    def _follow(self, model: mujoco.MjModel) -> None:
        """Use a new model of the environment from now on."""
        self._model = model
        self._dressing = self._dressed()
        self._sights = [_Sight(camera, model) for camera in self._renderer.cameras]
        self._scene = self._renderer.new_scene(model, _geom_count(model))
        self._uploaded = self._renderer.upload(model, self._uploaded)
        self._glance = Glance(model)
        self._kept: _Kept | None = None
        self._unsure = self._dressing is not None

    def _dressed(self) -> Dressing | None:
        if self._looks is None:
            return None
        return Dressing(self._looks, self._model, len(self._renderer.cameras))

    def _look(self, model: mujoco.MjModel, data: mujoco.MjData, index: int) -> None:
        """Make the scene that a camera sees."""
        sight = self._sights[index]
        camera = sight.at(data)
        self._update_scene(model, data, camera)
        while self._scene.ngeom == self._scene.maxgeom:  # the scene may have been too small
            self._scene = self._renderer.new_scene(model, 2 * self._scene.maxgeom)
            self._update_scene(model, data, camera)
        if self._dressing is not None:
            self._dressing.change(self._scene, index, sight.distance)

    def _update_scene(
        self, model: mujoco.MjModel, data: mujoco.MjData, camera: mujoco.MjvCamera
    ) -> None:
        mujoco.mjv_updateScene(
            *(model, data, self._option, self._perturbation, camera),
            mujoco.mjtCatBit.mjCAT_ALL.value,
            self._scene,
        )


class _Sight:
    """A camera in a model.

    Raises:
        UserError: the model lacks the camera, or the body that it tracks.
    """

    def __init__(self, camera: AnyCamera, model: mujoco.MjModel) -> None:
        # m, to the point that a free camera looks at
        self.distance = camera.distance if isinstance(camera, Camera) else None
        self._camera = mujoco.MjvCamera()
        self._tracked: int | None = None
        if not isinstance(camera, Camera):
            self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
            self._camera.fixedcamid = find_camera(model, camera.name)
            return
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FREE
        self._camera.distance = camera.distance
        self._camera.lookat[:] = camera.lookat
        self._camera.azimuth, self._camera.elevation = camera.azimuth, camera.elevation
        self._lookat = camera.lookat
        if camera.track is not None:
            self._tracked = find_body(model, camera.track)

    def at(self, data: mujoco.MjData) -> mujoco.MjvCamera:
        """Return MuJoCo's camera for the current positions."""
        if self._tracked is not None:
            # Not MuJoCo's own tracking camera: it follows smoothly, so a frame would depend on
            # earlier ones.
            self._camera.lookat[:2] = data.xpos[self._tracked, :2] + self._lookat[:2]
        return self._camera


class _Kept:
    """Undoes the changes of a render callback, which moves markers and calls `mj_forward`."""

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        self.data = data
        arrays = [*_buffer(data), data.energy, *_arrays(model, _MOVED)]
        self._arrays = [(array, array.copy()) for array in arrays]
        # of sites and geoms: where they are in their body, which body, where that is in the world
        self._markers = [
            tuple(
                getattr(of, f"{kind}_{name}")
                for of, name in ((model, "pos"), (model, "bodyid"), (data, "xpos"))
            )
            for kind in ("site", "geom")
        ]

    def call(self, callback: Callable[[], object]) -> None:
        """Call the render callback, and place the markers that it moved in the model alone.

        A callback need not call `mj_forward`: the next step places what it has moved, but here
        drawing leaves the model as it was before that.
        """
        before = [(pos.copy(), xpos.copy()) for pos, _, xpos in self._markers]
        callback()
        for (pos, body, xpos), (old_pos, old_xpos) in zip(self._markers, before, strict=True):
            moved = (pos != old_pos).any(1) & (xpos == old_xpos).all(1)
            rotation = self.data.xmat[body[moved]].reshape(-1, 3, 3)
            offset = np.einsum("nij,nj->ni", rotation, pos[moved])
            xpos[moved] = self.data.xpos[body[moved]] + offset

    @contextlib.contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Restore the data and the model, except textures, meshes and the like, after the block."""
        time = self.data.time
        for array, copied in self._arrays:
            np.copyto(copied, array)
        try:
            yield
        finally:
            self.data.time = time
            for array, copied in self._arrays:
                np.copyto(array, copied)


def check_cameras(cameras: tuple[AnyCamera, ...], model: mujoco.MjModel) -> None:
    """Raise UserError if the model lacks a camera, or the body that a camera tracks."""
    for camera in cameras:
        _Sight(camera, model)


def _buffer(data: mujoco.MjData) -> list[np.ndarray]:
    """Return the arrays that MuJoCo keeps from step to step.

    Contacts and constraints are not among them: the next step recomputes them, and views of them
    would not stay valid.
    """
    start = data.qpos.ctypes.data  # the first
    end = start + data.nbuffer
    return [array for array in _arrays(data, "") if start <= array.ctypes.data < end]


def _arrays(of: Any, prefixes: str | tuple[str, ...]) -> list[np.ndarray]:
    """Return the arrays whose names begin with the prefixes, as views of the object's memory."""
    values = (getattr(of, name) for name in dir(type(of)) if name.startswith(prefixes))
    return [value for value in values if isinstance(value, np.ndarray) and value.size]


def _placed(model: mujoco.MjModel, data: mujoco.MjData) -> mujoco.MjData:
    """Return a copy with positions, for data that was reset without `mj_forward`."""
    placed = copy.copy(data)
    mujoco.mj_forward(model, placed)
    return placed


def _geom_count(model: mujoco.MjModel) -> int:
    """Return how many geoms a scene of the model may have, including sites and tendons."""
    things = model.ngeom + model.nsite + model.nskin + model.nflex
    return _SPARE_GEOMS + things + 2 * model.nwrap + _SLACK_SEGMENTS * model.ntendon


def _visual_options(env: Any) -> mujoco.MjvOption:
    """Return MuJoCo's defaults, overridden by the `visual_options` of the environment."""
    option = mujoco.MjvOption()
    flags = getattr(getattr(env, "mujoco_renderer", None), "_vopt", {})
    for flag, value in flags.items():
        option.flags[flag] = value
    return option
