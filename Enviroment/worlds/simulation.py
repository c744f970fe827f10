"""Step and draw many worlds of one model by mujoco-warp, with torch views of its arrays."""

# MuJoCo's compiled modules come without type stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import mujoco
import numpy as np
import torch
from torch import Tensor

from Common.errors import UserError
from Enviroment.worlds.library import device_name, load_warp
from Enviroment.worlds.model import WorldModel
from Enviroment.worlds.rules import Moment

# What a step and a frame depend on. A world that begins an episode gets these from MuJoCo.
STATE_ARRAYS = (
    *("time", "qpos", "qvel", "qacc_warmstart", "ctrl"),
    *("xpos", "geom_xpos", "geom_xmat"),
    *("cam_xpos", "cam_xmat", "light_xpos", "light_xdir"),
)


class Simulation:
    """`n_worlds` worlds of a model on one device.

    An env step is one graph of kernels, and so is drawing. On a GPU they run on torch's current
    stream, so tensors need no synchronisation.

    Args:
        shared: the model.
        size: height and width of frames in pixels; None: nothing is drawn.
        rgb: draw red, green and blue instead of gray.

    Raises:
        UserError: mujoco-warp is not installed, or the device has too little memory.
    """

    def __init__(
        self,
        shared: WorldModel,
        n_worlds: int,
        device: torch.device,
        size: tuple[int, int] | None = None,
        *,
        rgb: bool = False,
    ) -> None:
        self._wp, self._mjw = load_warp()
        self.n_worlds, self.device = n_worlds, device
        self._name, self._shared = device_name(device), shared
        model = shared.model
        data = mujoco.MjData(model)
        mujoco.mj_forward(model, data)
        self._size, self._rgb, self._render = size, rgb, None
        with self._on_device(), _memory_errors(n_worlds):
            self._model = self._mjw.put_model(model)
            self._data = self._mjw.put_data(model, data, nworld=n_worlds)
            if size is not None:
                self._render = self._mjw.create_render_context(
                    model,
                    nworld=n_worlds,
                    cam_res=(size[1], size[0]),
                    render_rgb=True,
                    render_depth=False,
                    use_shadows=False,
                    cam_active=list(shared.cameras),
                )
        self.arrays = {name: self._view(getattr(self._data, name)) for name in STATE_ARRAYS}
        bodies = {model.body(i).name: i for i in range(model.nbody)}
        self.moment = Moment(
            *(self.arrays["qpos"], self.arrays["qvel"], self.arrays["xpos"], bodies),
            seconds=model.opt.timestep * shared.frame_skip,
        )
        self._graphs: dict[str, Any] = {}

    def step(self, actions: Tensor) -> None:
        """Take an env step in all worlds, with controls `(n_worlds, nu)`."""
        self.arrays["ctrl"].copy_(actions)
        self._run("step", self._step)

    def draw(self) -> Tensor:
        """Draw all worlds from all cameras. Return new frames, uint8 (n_worlds, channels, H, W)."""
        assert self._render is not None and self._size is not None
        self._run("draw", self._draw)
        packed = self._view(self._render.rgb_data).view(torch.int32)
        shape = (self.n_worlds, len(self._shared.cameras), *self._size)
        return unpack_colours(packed.view(shape), rgb=self._rgb)

    def write(self, worlds: Tensor, states: Mapping[str, Tensor]) -> None:
        """Set the state of some worlds.

        Args:
            worlds: indices, int64 (k,).
            states: the arrays of `STATE_ARRAYS`, `(k, ...)`.
        """
        for name, values in states.items():
            self.arrays[name].index_copy_(0, worlds, values)

    def _step(self) -> None:
        for _ in range(self._shared.frame_skip):
            self._mjw.step(self._model, self._data)

    def _draw(self) -> None:
        self._mjw.refit_bvh(self._model, self._data, self._render)
        self._mjw.render(self._model, self._data, self._render)

    def _run(self, name: str, work: Callable[[], None]) -> None:
        """Launch kernels: one by one at first, which compiles them, and then as one graph.

        The graph also spares a processor Python's cost of about 150 launches per env step.
        """
        on_gpu = self.device.type == "cuda"
        with self._on_device(), _memory_errors(self.n_worlds):
            if name not in self._graphs:
                self._graphs[name] = None
                if on_gpu:  # they run on warp's own stream, because torch's cannot be captured
                    torch.cuda.synchronize(self.device)
                work()
                self._wp.synchronize_device(self._name)
                return
            if self._graphs[name] is None:
                with self._wp.ScopedCapture(device=self._name, force_module_load=False) as capture:
                    work()
                self._graphs[name] = capture.graph
            stream = None
            if on_gpu:
                stream = self._wp.stream_from_torch(torch.cuda.current_stream(self.device))
            self._wp.capture_launch(self._graphs[name], stream=stream)

    def _on_device(self) -> Any:
        return self._wp.ScopedDevice(self._name)

    def _view(self, array: Any) -> Tensor:
        return self._wp.to_torch(array)


def unpack_colours(packed: Tensor, *, rgb: bool) -> Tensor:
    """Return the channels of pixels 0x00RRGGBB.

    Gray is the luma of ITU-R BT.601 in OpenCV's integers, as in frames of `Enviroment.drawing`.

    Args:
        packed: int32 (n, cameras, H, W).

    Returns:
        A new tensor, uint8 (n, cameras * (3 or 1), H, W).
    """
    colours = packed.view(torch.uint8).unflatten(-1, (-1, 4))  # (n, cameras, H, W, 4): B, G, R, 0
    blue, green, red = (colours[..., i] for i in range(3))
    if rgb:
        return torch.stack([red, green, blue], 2).flatten(1, 2)
    # In place, because each plane of int32 takes as much memory as the colours themselves.
    luma = red.to(torch.int32).mul_(9798)
    luma.add_(green, alpha=19235).add_(blue, alpha=3735).add_(16384)
    return luma.bitwise_right_shift_(15).to(torch.uint8)


def state_of(model: mujoco.MjModel, data: mujoco.MjData) -> dict[str, np.ndarray]:
    """Return copies of the arrays of `STATE_ARRAYS`, float32, in mujoco-warp's shapes."""
    state = {name: np.array(getattr(data, name), np.float32) for name in STATE_ARRAYS}
    for name in ("geom_xmat", "cam_xmat"):
        state[name] = state[name].reshape(-1, 3, 3)
    return state


class _memory_errors:  # noqa: N801 - used as a function
    """Raise UserError where warp or torch cannot allocate."""

    def __init__(self, n_worlds: int) -> None:
        self._n_worlds = n_worlds

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        is_memory = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if is_memory or (isinstance(error, RuntimeError) and "allocate" in str(error)):
            raise UserError(
                f"`n_envs` {self._n_worlds}: the device has too little memory for so many worlds. "
                "Use fewer."
            ) from error
