"""Frames of the worlds against those of our renderer, and their colours against OpenCV's."""

# MuJoCo's compiled modules come without type stubs.
# pyright: reportAttributeAccessIssue=false

import contextlib
import dataclasses

import cv2
import mujoco
import numpy as np
import pytest
import torch

from Enviroment.cameras import Camera, ModelCamera
from Enviroment.make import make_env
from Enviroment.tasks import get_task
from Enviroment.worlds.model import pose, read_model

pytest.importorskip("mujoco_warp")

from Enviroment.worlds.simulation import Simulation, state_of, unpack_colours

N_STATES = 20


@pytest.mark.parametrize("name", ["Pusher", "Reacher"])
def test_frames_differ_from_ours_by_three_gray_levels_on_average(name, device):
    task = get_task(name)
    rng = np.random.default_rng(0)
    with contextlib.closing(make_env(task, N_STATES, seed=5, workers="serial")) as env:
        assert env.action_space.shape is not None
        env.reset()
        for _ in range(12):
            obs, *_ = env.step(rng.uniform(-1, 1, (N_STATES, *env.action_space.shape)))
        datas = env.get_attr("data")
        drawn = _drawn(task, datas, device)
        ours = obs["frame"][:, -1]
    each = np.abs(drawn[:, 0].astype(int) - ours).mean((1, 2))
    assert each.mean() < 3.3
    assert each.max() < 3.8
    # Far less than what moves: the same frames in another order do not match.
    assert np.abs(drawn[1:, 0].astype(int) - ours[:-1]).mean() > each.mean() + 0.5


def _drawn(task, datas, device):
    """Draw Gymnasium's current states by the worlds."""
    shared = read_model(task, draws=True)
    worlds = Simulation(shared, len(datas), device, task.frame_size)
    for world, theirs in enumerate(datas):
        data = mujoco.MjData(shared.model)
        data.qpos[:], data.qvel[:] = theirs.qpos, theirs.qvel
        mujoco.mj_forward(shared.model, data)
        data.geom_xpos[:], data.geom_xmat[:] = theirs.geom_xpos, theirs.geom_xmat
        arrays = state_of(shared.model, data).items()
        state = {k: torch.as_tensor(v, device=device)[None] for k, v in arrays}
        worlds.write(torch.tensor([world], device=device), state)
    return worlds.draw().cpu().numpy()


def test_colours_are_unpacked_as_opencv_converts_them():
    rgb = np.random.default_rng(0).integers(0, 256, (1, 2, 8, 9, 3), np.uint8)
    packed = (rgb.astype(np.int32) << np.array([16, 8, 0])).sum(-1).astype(np.int32)
    gray = unpack_colours(torch.from_numpy(packed), rgb=False).numpy()
    colours = unpack_colours(torch.from_numpy(packed), rgb=True).numpy()
    assert gray.shape == (1, 2, 8, 9)
    assert colours.shape == (1, 6, 8, 9)
    for camera in range(2):
        expected = cv2.cvtColor(rgb[0, camera], cv2.COLOR_RGB2GRAY)
        np.testing.assert_array_equal(gray[0, camera], expected)
        np.testing.assert_array_equal(
            colours[0, 3 * camera : 3 * camera + 3].transpose(1, 2, 0), rgb[0, camera]
        )


def test_the_camera_stands_where_mujocos_free_camera_stands():
    task = get_task("Pusher")
    assert isinstance(task.camera, Camera)
    camera = dataclasses.replace(task.camera, azimuth=30.0, elevation=-20.0)
    shared = read_model(task, draws=False)
    data, scene = mujoco.MjData(shared.model), mujoco.MjvScene(shared.model, 100)
    free = mujoco.MjvCamera()
    free.distance, free.lookat[:] = camera.distance, camera.lookat
    free.azimuth, free.elevation = camera.azimuth, camera.elevation
    mujoco.mj_forward(shared.model, data)
    mujoco.mjv_updateScene(
        *(shared.model, data, mujoco.MjvOption(), None, free, mujoco.mjtCatBit.mjCAT_ALL), scene
    )
    eyes = scene.camera  # of two eyes, a little apart
    position, right, up = pose(camera)
    np.testing.assert_allclose((eyes[0].pos + eyes[1].pos) / 2, position, atol=1e-6)
    np.testing.assert_allclose(eyes[0].up, up, atol=1e-6)
    np.testing.assert_allclose(np.cross(eyes[0].forward, eyes[0].up), right, atol=1e-6)


def test_a_camera_of_the_model_is_drawn_from():
    task = dataclasses.replace(get_task("Hopper"), camera=ModelCamera("track"), grayscale=False)
    shared = read_model(task, draws=True)
    assert shared.cameras == ("track",)
