"""Track the parts of a model in OpenGL's memory, and whether they still match the model.

MuJoCo reads most visible properties from the model at every rendering: colours, sizes, poses,
lights, materials. Textures, meshes, height fields, skins and planes are uploaded when `MjrContext`
is made, as are sizes of buffers, fog and quality.
"""

# MuJoCo's compiled modules come without type stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import math
import re
from collections.abc import Callable

import mujoco
import numpy as np

_MESHES = ("mesh_vert", "mesh_normal", "mesh_texcoord", "mesh_facenormal")
_CONTENT = ("tex_data", "hfield_data", *_MESHES)  # can be uploaded again in place
_UPLOADED = ("tex_", "mesh_", "hfield_", "skin_", "mat_texrepeat", "mat_texuniform")
# Of these, arrays for collisions, physics and files only.
_UNSEEN = re.compile("mesh_(bvh|oct|poly|extrema|pos|quat|scale)|.*(path|contenttype)adr")
_ARRAYS = tuple(
    name for name in dir(mujoco.MjModel) if name.startswith(_UPLOADED) and not _UNSEEN.match(name)
)
_PLANES = "planes"  # sizes and materials of plane geoms
_GLANCED = ("tex_data", "hfield_data", "mesh_vert")
_SAMPLES = 4096  # numbers of each array that a glance compares: about 3 microseconds

MakeContext = Callable[[mujoco.MjModel], mujoco.MjrContext]


class UploadedModel:
    """An `MjrContext` and the content it was made from. Its OpenGL context must be current.

    Environments whose models look the same share one.

    Args:
        model: the model to upload.
        make_context: makes a context of a model in the size and quality of the frames.
    """

    def __init__(self, model: mujoco.MjModel, make_context: MakeContext) -> None:
        self._make_context = make_context
        self.users = 0  # number of environments rendered with it
        self.context = make_context(model)
        self._bytes = _bytes_of(model)
        self._settings = _settings_of(model)

    def shows(self, model: mujoco.MjModel) -> bool:
        """Return whether the uploaded content matches the model."""
        return self._settings == _settings_of(model) and not self._changed(model)

    def update(self, model: mujoco.MjModel) -> None:
        """Upload the changed parts of the model."""
        changed = self._changed(model)
        if self._settings == _settings_of(model) and changed <= set(_CONTENT):
            self._upload(model, changed)
            self._bytes |= {name: getattr(model, name).tobytes() for name in changed}
            return
        self.context.free()
        self.context = self._make_context(model)
        self._bytes, self._settings = _bytes_of(model), _settings_of(model)

    def _changed(self, model: mujoco.MjModel) -> set[str]:
        """Return the names of the arrays that differ, for a model of the same sizes."""
        changed = {
            name
            for name, known in self._bytes.items()
            if name != _PLANES and getattr(model, name).tobytes() != known
        }
        return changed | ({_PLANES} if _plane_bytes(model) != self._bytes[_PLANES] else set())

    def _upload(self, model: mujoco.MjModel, changed: set[str]) -> None:
        if "tex_data" in changed:
            before = np.frombuffer(self._bytes["tex_data"], model.tex_data.dtype)
            places = model.tex_adr[1:]
            pairs = zip(np.split(model.tex_data, places), np.split(before, places), strict=True)
            for texture, (new, old) in enumerate(pairs):
                if not np.array_equal(new, old):
                    mujoco.mjr_uploadTexture(model, self.context, texture)
        if "hfield_data" in changed:
            for field in range(model.nhfield):
                mujoco.mjr_uploadHField(model, self.context, field)
        if changed & set(_MESHES):
            for mesh in range(model.nmesh):
                mujoco.mjr_uploadMesh(model, self.context, mesh)


class Glance:
    """Detects cheaply whether the uploaded parts of a model may have changed.

    It compares numbers spread over textures, meshes and height fields, and the sizes of planes: a
    new texture or terrain is noticed, but a single changed pixel of a large texture may not be.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        arrays = [getattr(model, name).reshape(-1) for name in _GLANCED]
        # Views of the model's own memory, so they follow it.
        self._samples = [array[:: _stride(array.size)] for array in arrays if array.size]
        self._samples += [model.geom_size[plane] for plane in _planes(model)]
        self.remember()

    def remember(self) -> None:
        """Remember the current model as unchanged."""
        self._known = [sample.tobytes() for sample in self._samples]

    def sees_change(self) -> bool:
        return [sample.tobytes() for sample in self._samples] != self._known


def _stride(size: int) -> int:
    """Return a stride whose samples cover every colour channel, of 3 or of 4."""
    stride = max(1, size // _SAMPLES)
    while math.gcd(stride, 12) > 1:
        stride -= 1
    return stride


def _bytes_of(model: mujoco.MjModel) -> dict[str, bytes]:
    """Return the uploaded content. Empty arrays are empty in every model of the same sizes."""
    arrays = {name: getattr(model, name) for name in _ARRAYS}
    full = {name: array.tobytes() for name, array in arrays.items() if array.size}
    return {**full, _PLANES: _plane_bytes(model)}


def _plane_bytes(model: mujoco.MjModel) -> bytes:
    planes = _planes(model)
    return model.geom_size[planes].tobytes() + model.geom_matid[planes].tobytes()


def _planes(model: mujoco.MjModel) -> np.ndarray:
    """Return the indices of the plane geoms."""
    return np.flatnonzero(model.geom_type == int(mujoco.mjtGeom.mjGEOM_PLANE))


def _settings_of(model: mujoco.MjModel) -> tuple[float, ...]:
    """Return the sizes of a model and the scalars that a context copies."""
    vis, quality = model.vis, model.vis.quality
    return (
        *(model.ntex, model.nmat, model.nmesh, model.nhfield, model.nskin),
        *(float(model.stat.extent), vis.global_.linewidth),
        *(vis.map.fogstart, vis.map.fogend, vis.map.shadowclip, vis.map.shadowscale),
        *(vis.map.znear, vis.map.zfar, *map(float, vis.rgba.fog), *map(float, vis.rgba.haze)),
        *(quality.shadowsize, quality.offsamples),
        *(quality.numslices, quality.numstacks, quality.numquads),
    )
