"""An offscreen MuJoCo renderer that is fast without a GPU.

Under Mesa's software rasteriser small frames spend nearly all their time on details that they do
not show: the 4096-pixel shadow map, reflections, multisampling and finely tessellated primitives.
`quality="fast"` omits these; `quality="reference"` renders as Gymnasium does.
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

from Common.errors import UserError
from Common.names import nearest
from Enviroment.drawing.gl import gl_errors, open_context
from Enviroment.drawing.uploaded import UploadedModel
from Enviroment.task import Camera

Quality = Literal["fast", "reference"]


def check_quality(quality: str) -> None:
    """Raise UserError unless `quality` is known to `Renderer`."""
    if quality not in get_args(Quality):
        names = " or ".join(get_args(Quality))
        raise UserError(f"Unknown render quality {quality!r}: use {names}.")


class Renderer:
    """Renders the environments of a thread, each by an `EnvView`, in one size and quality.

    It owns an OpenGL context, so the thread that made it must also use and close it. Models are
    not changed.

    Args:
        camera: the camera.
        height, width: size in pixels.
        quality: "fast", or "reference" for frames as from Gymnasium's `env.render()`.
        grayscale: render one channel (ITU-R BT.601 luma) instead of red, green and blue.

    Raises:
        UserError: the quality is unknown, or there is no usable OpenGL.
    """

    def __init__(
        self,
        camera: Camera,
        height: int,
        width: int,
        quality: Quality = "fast",
        grayscale: bool = True,
    ) -> None:
        check_quality(quality)
        self._thread = threading.get_ident()
        self.camera = camera
        self._quality: Quality = quality
        self._viewport = mujoco.MjrRect(0, 0, width, height)
        self._rgb = np.empty((height, width, 3), np.uint8)
        self._gray = np.empty((height, width), np.uint8) if grayscale else None
        self._uploaded: list[UploadedModel] = []
        self._bound: mujoco.MjrContext | None = None  # the one whose buffer OpenGL renders to
        with gl_errors():
            self._gl = open_context(height, width)
        self._closed = False

    def upload(self, model: mujoco.MjModel, now: UploadedModel | None = None) -> UploadedModel:
        """Upload the model's textures, meshes and the like to OpenGL's memory.

        Args:
            model: the model of an environment.
            now: the previous return value for that environment; it is released.

        Returns:
            `now` if it still matches the model; else that of another environment that looks the
            same; else `now` after an update, or a new one.
        """
        self._check_usable()
        self._gl.make_current()
        if now is not None and now.shows(model):
            return now
        alike = next((other for other in self._uploaded if other.shows(model)), None)
        with gl_errors():
            if alike is None and now is not None and now.users == 1:
                now.update(model)
                return now
            if alike is None:
                alike = UploadedModel(model, self._make_context)
                self._uploaded.append(alike)
            alike.users += 1
            if now is not None:
                self._drop(now)
        return alike

    def new_scene(self, model: mujoco.MjModel, n_geoms: int) -> mujoco.MjvScene:
        """Return a scene for a number of geoms of the model, in this quality."""
        scene = mujoco.MjvScene(model, n_geoms)
        if self._quality == "fast":
            scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
            scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        return scene

    def draw(self, scene: mujoco.MjvScene, uploaded: UploadedModel) -> np.ndarray:
        """Render a scene with the uploaded parts of its model.

        Returns:
            A new uint8 array, (H, W) or, in colour, (H, W, 3); the top row comes first.
        """
        self._check_usable()
        self._gl.make_current()  # another renderer of this thread may have been current current
        context = uploaded.context
        if context is not self._bound:
            mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, context)
            self._bound = context
        mujoco.mjr_render(self._viewport, scene, context)
        mujoco.mjr_readPixels(self._rgb, None, self._viewport, context)
        picture = self._rgb
        if self._gray is not None:
            picture = cv2.cvtColor(self._rgb, cv2.COLOR_RGB2GRAY, dst=self._gray)
        return picture[::-1].copy()  # OpenGL's first row is the bottom one

    def close(self) -> None:
        """Free the OpenGL context. A second call does nothing."""
        if self._closed:
            return
        self._check_usable()
        self._closed = True
        with gl_errors():
            self._gl.make_current()
            for uploaded in self._uploaded:
                uploaded.context.free()
            self._gl.free()

    def _make_context(self, model: mujoco.MjModel) -> mujoco.MjrContext:
        settings = _model_for(model, self._viewport.height, self._viewport.width, self._quality)
        self._bound = None  # the new context becomes the bound one
        return mujoco.MjrContext(settings, mujoco.mjtFontScale.mjFONTSCALE_100)

    def _drop(self, uploaded: UploadedModel) -> None:
        """Release the uploaded model of one environment."""
        uploaded.users -= 1
        if not uploaded.users:
            self._uploaded.remove(uploaded)
            uploaded.context.free()

    def _check_usable(self) -> None:
        if self._closed:
            raise RuntimeError("This renderer has been closed.")
        if threading.get_ident() != self._thread:
            raise RuntimeError("A renderer belongs to the thread that made it.")


def find_body(model: mujoco.MjModel, name: str) -> int:
    """Return the index of a body.

    Raises:
        UserError: the name is unknown. The message lists similar names.
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
    """Return a copy of the model with the size and quality of the frames."""
    model = copy.copy(model)
    # The whole buffer is cleared and resolved, so it should not exceed the frame.
    model.vis.global_.offheight, model.vis.global_.offwidth = height, width
    if quality == "fast":
        settings = model.vis.quality
        settings.shadowsize = settings.offsamples = 0
        settings.numslices, settings.numstacks, settings.numquads = 12, 6, 1
    return model
