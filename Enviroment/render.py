"""An offscreen MuJoCo renderer that is fast without a GPU.

Under Mesa's software rasteriser nearly all of a small frame's time goes to what small frames do
not show: the 4096-pixel shadow map, reflections, multisampling and finely tessellated primitives.
`quality="fast"` leaves these out; `quality="reference"` draws as Gymnasium does.
"""

# MuJoCo's compiled modules come without type stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import copy
import threading
from typing import Literal, get_args

import cv2
import mujoco
import numpy as np

from Enviroment.errors import UserError
from Enviroment.gl import gl_errors, open_context
from Enviroment.names import nearest
from Enviroment.task import Camera

Quality = Literal["fast", "reference"]

_MAX_GEOMS = 1000  # as in Gymnasium


def check_quality(quality: str) -> None:
    """Raise `UserError` unless `quality` is one that `Renderer` knows."""
    if quality not in get_args(Quality):
        names = " or ".join(get_args(Quality))
        raise UserError(f"There is no render quality {quality!r}: use {names}.")


class Renderer:
    """Draws simulations of one model through one camera.

    It owns an OpenGL context, so the thread that made it must also use and close it. Any `MjData`
    of the model, or of another with the same geometry, can be drawn; the model is left as it is.

    Args:
        model: what is simulated.
        camera: where it is seen from.
        height, width: pixels.
        quality: "fast", or "reference" for pictures as Gymnasium's `env.render()` makes them.
        grayscale: one channel (ITU-R BT.601 luma) in place of red, green and blue.

    Raises:
        UserError: unknown quality, no body of the name that the camera tracks, or no usable OpenGL.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        camera: Camera,
        height: int,
        width: int,
        quality: Quality = "fast",
        grayscale: bool = True,
    ) -> None:
        check_quality(quality)
        self._thread = threading.get_ident()
        self._model = _model_for(model, height, width, quality)
        self._option = mujoco.MjvOption()
        self._perturbation = mujoco.MjvPerturb()
        self._camera = _free_camera(camera)
        self._tracked = None if camera.track is None else find_body(model, camera.track)
        self._lookat = camera.lookat
        self._viewport = mujoco.MjrRect(0, 0, width, height)
        self._rgb = np.empty((height, width, 3), np.uint8)
        self._gray = np.empty((height, width), np.uint8) if grayscale else None
        with gl_errors():
            self._gl = open_context(height, width)
            self._context = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_100)
            mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._scene = mujoco.MjvScene(self._model, _MAX_GEOMS)
        if quality == "fast":
            self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
            self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self._closed = False

    def render(self, data: mujoco.MjData) -> np.ndarray:
        """Draw the simulation as it is now.

        Returns:
            A new uint8 array, (H, W) or, in colour, (H, W, 3); the top row comes first.
        """
        self._check_usable()
        if self._tracked is not None:
            # Not MuJoCo's own tracking camera: it follows smoothly, so that a picture would depend
            # on those before it, and all the environments of a worker share this renderer.
            self._camera.lookat[:2] = data.xpos[self._tracked, :2] + self._lookat[:2]
        self._gl.make_current()  # another renderer of this thread may have been
        mujoco.mjv_updateScene(
            self._model,
            data,
            self._option,
            self._perturbation,
            self._camera,
            mujoco.mjtCatBit.mjCAT_ALL.value,
            self._scene,
        )
        mujoco.mjr_render(self._viewport, self._scene, self._context)
        mujoco.mjr_readPixels(self._rgb, None, self._viewport, self._context)
        picture = self._rgb
        if self._gray is not None:
            picture = cv2.cvtColor(self._rgb, cv2.COLOR_RGB2GRAY, dst=self._gray)
        return picture[::-1].copy()  # OpenGL's first row is the bottom one

    def close(self) -> None:
        """Free the OpenGL context. Closing twice is harmless."""
        if self._closed:
            return
        self._check_usable()
        self._closed = True
        with gl_errors():
            self._gl.make_current()
            self._context.free()
            self._gl.free()

    def _check_usable(self) -> None:
        if self._closed:
            raise RuntimeError("This renderer has been closed.")
        if threading.get_ident() != self._thread:
            raise RuntimeError("A renderer belongs to the thread that made it.")


def find_body(model: mujoco.MjModel, name: str) -> int:
    """The index of a body.

    Raises:
        UserError: there is none of that name; the nearest names are listed.
    """
    index = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, name)
    if index < 0:
        bodies = [model.body(i).name for i in range(1, model.nbody)]  # 0 is the world
        known = [body for body in bodies if body]
        raise UserError(
            f"The camera cannot track {name!r}: the model has no such body. "
            f"Did you mean {nearest(name, known)}?"
        )
    return index


def _model_for(model: mujoco.MjModel, height: int, width: int, quality: Quality) -> mujoco.MjModel:
    """A copy of the model with the picture's size and quality."""
    model = copy.copy(model)
    # The buffer is cleared and resolved as a whole, so it should not exceed the picture.
    model.vis.global_.offheight, model.vis.global_.offwidth = height, width
    if quality == "fast":
        settings = model.vis.quality
        settings.shadowsize = settings.offsamples = 0
        settings.numslices, settings.numstacks, settings.numquads = 12, 6, 1
    return model


def _free_camera(camera: Camera) -> mujoco.MjvCamera:
    free = mujoco.MjvCamera()
    free.type = mujoco.mjtCamera.mjCAMERA_FREE
    free.distance = camera.distance
    free.lookat[:] = camera.lookat
    free.azimuth, free.elevation = camera.azimuth, camera.elevation
    return free
