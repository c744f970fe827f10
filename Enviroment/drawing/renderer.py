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
from Enviroment.cameras import Cameras, DepthRange, as_tuple
from Enviroment.drawing.gl import gl_errors, open_context
from Enviroment.drawing.uploaded import UploadedModel

Quality = Literal["fast", "reference"]

_LISTED = 20  # cameras in a message


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
        camera: the camera, or several.
        height, width: size in pixels.
        quality: "fast", or "reference" for frames as from Gymnasium's `env.render()`.
        grayscale: render one channel (ITU-R BT.601 luma) instead of red, green and blue.
        depth: range of the depth channel of `draw_channels`; None: no depth.

    Raises:
        UserError: the quality is unknown, or there is no usable OpenGL.
    """

    def __init__(
        self,
        camera: Cameras,
        height: int,
        width: int,
        quality: Quality = "fast",
        grayscale: bool = True,
        depth: DepthRange | None = None,
    ) -> None:
        check_quality(quality)
        self._thread = threading.get_ident()
        self.cameras = as_tuple(camera)
        self._depth = depth
        self._quality: Quality = quality
        self._viewport = mujoco.MjrRect(0, 0, width, height)
        self._rgb = np.empty((height, width, 3), np.uint8)
        self._gray = np.empty((height, width), np.uint8) if grayscale else None
        self._depths = None if depth is None else np.empty((height, width), np.float32)
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
        """Render a scene with the uploaded parts of its model, without depth.

        Returns:
            A new uint8 array, (H, W) or, in colour, (H, W, 3); the top row comes first.
        """
        self._read(scene, uploaded, None)
        picture = self._rgb if self._gray is None else self._luma(self._gray)
        return picture[::-1].copy()  # OpenGL's first row is the bottom one

    def draw_channels(
        self, scene: mujoco.MjvScene, uploaded: UploadedModel, out: np.ndarray
    ) -> None:
        """Render a scene into `out`, uint8 (channels, H, W): colour, then depth if there is any."""
        self._read(scene, uploaded, self._depths)
        if self._gray is None:
            out[:3] = self._rgb[::-1].transpose(2, 0, 1)  # (H, W, 3) -> (3, H, W)
        else:
            out[0] = self._luma(self._gray)[::-1]
        if self._depth is not None:
            assert self._depths is not None
            out[-1] = self._depth.encode(_in_metres(self._depths, scene)[::-1])

    def _read(
        self, scene: mujoco.MjvScene, uploaded: UploadedModel, depths: np.ndarray | None
    ) -> None:
        """Render a scene, and read its colours and, if asked for, OpenGL's depths."""
        self._check_usable()
        self._gl.make_current()  # another renderer of this thread may have been current
        context = uploaded.context
        if context is not self._bound:
            mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, context)
            self._bound = context
        mujoco.mjr_render(self._viewport, scene, context)
        mujoco.mjr_readPixels(self._rgb, depths, self._viewport, context)

    def _luma(self, gray: np.ndarray) -> np.ndarray:
        """Convert the colours that were read to `gray` (H, W), and return it."""
        return cv2.cvtColor(self._rgb, cv2.COLOR_RGB2GRAY, dst=gray)

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
        context = mujoco.MjrContext(settings, mujoco.mjtFontScale.mjFONTSCALE_100)
        # Far distances are close to 0, where floating-point numbers are densest.
        context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR.value
        return context

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
        raise UserError(
            f"The camera cannot track {name!r}: the model has no such body. "
            f"Did you mean {nearest(name, body_names(model))}?"
        )
    return index


def find_camera(model: mujoco.MjModel, name: str) -> int:
    """Return the index of a camera of the model.

    Raises:
        UserError: the name is unknown. The message lists the model's cameras.
    """
    index = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, name)
    if index < 0:
        raise UserError(f"`camera` {name!r}: the model has no such camera. {list_cameras(model)}")
    return index


def list_cameras(model: mujoco.MjModel) -> str:
    """Return a sentence that lists the model's cameras."""
    names = camera_names(model)
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    listed = ", ".join(names[:_LISTED]) or "none"
    return f"Its cameras: {listed}{more}."


def camera_names(model: mujoco.MjModel) -> list[str]:
    """Return the names of the model's cameras; one without a name cannot be chosen."""
    names = (model.camera(i).name for i in range(model.ncam))
    return [name for name in names if name]


def body_names(model: mujoco.MjModel) -> list[str]:
    """Return the names of the model's bodies, without the world and those without a name."""
    names = (model.body(i).name for i in range(1, model.nbody))  # 0 is the world
    return [name for name in names if name]


def _in_metres(depths: np.ndarray, scene: mujoco.MjvScene) -> np.ndarray:
    """Return the distances along the line of sight for OpenGL's depths, 1 near to 0 far.

    With a perspective, a depth d is n (f - z) / (z (f - n)) at the distance z, between the clipping
    planes n and f of the scene (`vis.map.znear` and `zfar`, times `stat.extent`).
    """
    camera = scene.camera[0]
    near, far = camera.frustum_near, camera.frustum_far
    if camera.orthographic:
        return far - depths * (far - near)
    return near * far / (near + depths * (far - near))


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
