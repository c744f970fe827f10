"""Change the looks of a scene that MuJoCo has made of a model: `Dressing`.

The model and the data of the environment are only read, so nothing that an episode depends on
changes. Textures alone are not part of a scene; they are changed in a copy of the model, from which
they are uploaded to OpenGL.
"""

# MuJoCo's compiled modules come without type stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import copy
import math

import mujoco
import numpy as np

from Enviroment.drawing.looks import CameraChange, Looks

_GEOM, _SITE = (int(getattr(mujoco.mjtObj, f"mjOBJ_{name}")) for name in ("GEOM", "SITE"))
_BACKWARDS = np.array([0.0, 0.0, 1.0])
_EYES = 2  # of MuJoCo's stereoscopic camera; their mean is drawn


class Dressing:
    """The looks of one episode, for the scenes of one model.

    Args:
        looks: the looks of the episode.
        model: the model of the environment.
        n_cameras: number of cameras of an observation.
    """

    def __init__(self, looks: Looks, model: mujoco.MjModel, n_cameras: int) -> None:
        self._reach = float(model.stat.extent)  # m, from a light to what it lights
        self._light, self._ambient = looks.light()
        # One more: the headlight, which is no light of the model.
        self._light_turns = [rotation(v) for v in looks.light_turns(model.nlight + 1)]
        materials, geoms = looks.colours(0, model.nmat), looks.colours(1, model.ngeom)
        painted = model.geom_matid >= 0
        geoms[painted] = materials[model.geom_matid[painted]]
        sites = looks.colours(2, model.nsite)
        painted = model.site_matid >= 0
        sites[painted] = materials[model.site_matid[painted]]
        self._colours = {_GEOM: geoms, _SITE: sites}  # (n, 3)
        self._cameras = [_Pose(looks.camera(i)) for i in range(n_cameras)]
        self._contrasts = looks.contrasts(model.ntex)

    def change(self, scene: mujoco.MjvScene, camera: int, distance: float | None) -> None:
        """Change a scene that was just made, for the camera of this index.

        Args:
            distance: metres from the camera to the point that it looks at; None: no such point.
        """
        self._cameras[camera].move(scene, distance)
        self._change_lights(scene)
        self._change_colours(scene)

    def textured(self, model: mujoco.MjModel) -> mujoco.MjModel:
        """Return a copy of the model with other textures, to be uploaded; itself without any."""
        if not any(contrast != 1 for contrast in self._contrasts):
            return model
        model = copy.copy(model)
        parts = np.split(model.tex_data, model.tex_adr[1:])  # views
        for pixels, channels, contrast in zip(
            parts, model.tex_nchannel, self._contrasts, strict=True
        ):
            colours = pixels.reshape(-1, channels)  # (pixels, channels)
            mean = colours.mean(0, keepdims=True)
            changed = np.rint(mean + contrast * (colours - mean))
            colours[:] = np.clip(changed, 0, 255).astype(np.uint8)
        return model

    def _change_colours(self, scene: mujoco.MjvScene) -> None:
        # Of each geom of the model in the scene, which also has contacts, tendons and the like.
        colours, added = [], []
        for geom in scene.geoms[: scene.ngeom]:
            of_kind = self._colours.get(geom.objtype)
            if of_kind is not None:
                colours.append(geom.rgba)  # views of the scene's memory
                added.append(of_kind[geom.objid])
        if colours:
            changed = np.array(colours)  # (n, 4)
            changed[:, :3] += added
            np.clip(changed, 0, 1, out=changed)
            for colour, new in zip(colours, changed, strict=True):
                colour[:] = new

    def _change_lights(self, scene: mujoco.MjvScene) -> None:
        lights = scene.lights
        for i in range(min(scene.nlight, len(self._light_turns))):
            light, turn = lights[i], self._light_turns[i]
            light.ambient[:] *= self._light * self._ambient
            light.diffuse[:] *= self._light
            light.specular[:] *= self._light
            beam = np.array(light.dir)
            turned = turn @ beam
            light.dir[:] = turned
            # The light still points at the same place, from another side.
            light.pos[:] += self._reach * (beam - turned)


class _Pose:
    """The change of a camera's pose, in the camera's own axes: right, up, and backwards."""

    def __init__(self, change: CameraChange) -> None:
        right, up = (math.radians(angle) for angle in change.turn)
        # About the upward axis, a positive angle turns to the left.
        turn = rotation(np.array([up, -right, -math.radians(change.roll)]))
        about_up, about_right = (math.radians(angle) for angle in change.orbit)
        self._orbit = rotation(np.array([about_right, about_up, 0.0]))
        self._turn, self._zoom = turn, change.zoom

    def move(self, scene: mujoco.MjvScene, distance: float | None) -> None:
        """Move the camera of a scene, and its headlight."""
        eyes = [scene.camera[i] for i in range(_EYES)]  # they differ in their place only
        place = (eyes[0].pos + eyes[1].pos) / 2
        axes = np.empty((3, 3))  # rows
        axes[1], axes[2] = eyes[0].up, -eyes[0].forward
        mujoco.mju_cross(axes[0], axes[1], axes[2])
        axes = axes.T
        if distance is not None:
            place = place + distance * (axes @ (self._orbit[:, 2] - _BACKWARDS))
            axes = axes @ self._orbit
        axes = axes @ self._turn
        for eye in eyes:
            eye.pos[:], eye.forward[:], eye.up[:] = place, -axes[:, 2], axes[:, 1]
            eye.frustum_bottom /= self._zoom
            eye.frustum_top /= self._zoom
            eye.frustum_width /= self._zoom
        for light in scene.lights[: scene.nlight]:
            if light.headlight:
                light.pos[:], light.dir[:] = place, -axes[:, 2]


def rotation(vector: np.ndarray) -> np.ndarray:
    """Return the rotation (3, 3) about a vector (3,), by its length in radians."""
    quaternion, matrix = np.empty(4), np.empty(9)
    angle = float(np.linalg.norm(vector))
    axis = vector / angle if angle else np.array([1.0, 0.0, 0.0])
    mujoco.mju_axisAngle2Quat(quaternion, axis, angle)
    mujoco.mju_quat2Mat(matrix, quaternion)
    return matrix.reshape(3, 3)
