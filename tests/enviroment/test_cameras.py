"""Cameras by name, colour, depth and stacks, against Gymnasium's own renderer and arithmetic."""

# MuJoCo's compiled modules come without type stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

import mujoco
import numpy as np
import pytest

from Common.errors import UserError
from Enviroment.cameras import Camera, CameraSet, DepthRange, ModelCamera
from Enviroment.custom import describe_custom, task_of, with_frames
from Enviroment.drawing.camera_text import (
    default_depth_range,
    default_view,
    parse_cameras,
    parse_depth_range,
)
from Enviroment.drawing.env_view import EnvView
from Enviroment.drawing.renderer import Renderer, find_body
from Enviroment.make import make_env
from Enviroment.observations import FrameStack, colour_channels, newest_pictures
from Enviroment.tasks import TASKS
from tests.support.environments.arm_env import (
    ACTIONS,
    SIZE,
    STEPS,
    Arm,
    arm_model,
    arm_task,
    gymnasium_view,
)

RANGE = DepthRange(0.5, 2.5)


# -- data ---------------------------------------------------------------------------------------


def test_channels_are_time_major_then_cameras_then_colour_and_depth() -> None:
    frames = CameraSet((ModelCamera("a"), ModelCamera("b")), rgb=True, depth=RANGE)
    assert (frames.colours, frames.camera_channels, frames.channels) == (3, 4, 8)
    found = [(view.title, view.channels.start, view.channels.stop) for view in frames.views()]
    assert found == [("a", 0, 3), ("a depth", 3, 4), ("b", 4, 7), ("b depth", 7, 8)]
    assert CameraSet().channels == 1  # a game, in gray


def test_depth_is_mapped_to_bytes_between_near_and_far() -> None:
    metres = np.array([0.0, 0.5, 1.0, 1.5, 2.5, 9.0])
    # 255 * 0.5 / 2 = 63.75; 255 * 1 / 2 = 127.5, to the even 128
    assert RANGE.encode(metres).tolist() == [0, 0, 64, 128, 255, 255]


def test_a_stack_keeps_the_channels_of_a_time_step_together() -> None:
    task = arm_task("top", "wrist", depth=RANGE, stack=3, frame_interval=1)
    stack = FrameStack(task, 1)
    frame = np.zeros((1, 4, *SIZE), np.uint8)
    for step in range(5):
        frame[:] = 10 * step + np.arange(4)[:, None, None]
        stack.push(frame)
    assert stack.stack(0)[:, 0, 0].tolist() == [20, 21, 22, 23, 30, 31, 32, 33, 40, 41, 42, 43]
    assert colour_channels(task).tolist() == [True, False] * 6


def test_a_camera_set_survives_json_and_a_custom_task_its_description() -> None:
    for task in (
        arm_task("top", "wrist", depth=RANGE, grayscale=False),
        arm_task("wrist"),
        dataclasses.replace(TASKS["Ant"], custom=True),
    ):
        assert CameraSet.from_json(task.camera_set.as_json()) == task.camera_set
        assert task_of(describe_custom(task)) == task
        assert task.seen_by(task.camera_set) == task
    assert "depth" not in describe_custom(arm_task("wrist"))["custom_task"]  # as older versions


def test_views_are_shown_side_by_side() -> None:
    task = arm_task("top", "wrist", depth=RANGE, grayscale=False, stack=2)
    step = np.arange(8, dtype=np.uint8)[:, None, None] + np.zeros((8, *SIZE), np.uint8)
    shown = newest_pictures(np.concatenate([step + 100, step]), task)
    assert shown.shape == (SIZE[0], 4 * SIZE[1], 3)
    columns = shown[0, :: SIZE[1]].tolist()
    assert columns == [[0, 1, 2], [3, 3, 3], [4, 5, 6], [7, 7, 7]]


# -- pictures -----------------------------------------------------------------------------------


@pytest.fixture
def arm() -> Any:
    env = Arm()
    env.reset(seed=3)
    for _ in range(4):
        env.step(np.ones(ACTIONS))
    with contextlib.closing(env):
        yield env


@pytest.mark.parametrize("camera", ["top", "side", "wrist"])
def test_colour_and_depth_are_those_of_gymnasium(arm: Arm, camera: str) -> None:
    colour = gymnasium_view(arm, camera, "rgb_array")
    raw = gymnasium_view(arm, camera, "depth_array").astype(np.float64)
    near, far = 0.01, 20.0  # the clipping planes of the model, whose extent is 1 m
    metres = near / (1 - raw * (1 - near / far))
    frame = np.zeros((4, *SIZE), np.uint8)
    with contextlib.closing(
        Renderer(ModelCamera(camera), *SIZE, "reference", grayscale=False, depth=RANGE)
    ) as renderer:
        EnvView(arm, renderer).render_into(frame)
    assert np.abs(frame[:3].transpose(1, 2, 0).astype(int) - colour).max() <= 1
    # Gymnasium's depths are nearly 1 everywhere, and float32: half a centimetre is half a level.
    assert np.abs(frame[3].astype(int) - RANGE.encode(metres)).max() <= 1
    assert np.unique(frame[3]).size > 5


def test_depth_of_an_orthographic_camera_is_that_of_the_geometry() -> None:
    newer = hasattr(mujoco, "mjtProjection")  # MuJoCo 3.3 has a flag instead of a projection
    projection = 'projection="orthographic"' if newer else 'orthographic="true"'
    model = mujoco.MjModel.from_xml_string(
        '<mujoco><statistic extent="1"/><worldbody>'
        f'<camera name="eye" pos="0 0 2" {projection} fovy="1"/>'
        '<geom type="box" size="1 1 .25"/></worldbody></mujoco>'
    )
    env: Any = type("Env", (), {"model": model, "data": mujoco.MjData(model)})()
    env.unwrapped = env
    frame = np.zeros((2, 16, 16), np.uint8)
    depth = DepthRange(1.0, 2.0)
    with contextlib.closing(Renderer(ModelCamera("eye"), 16, 16, depth=depth)) as renderer:
        EnvView(env, renderer).render_into(frame)
    assert np.abs(frame[1].astype(int) - 191).max() <= 1  # 1.75 m: 255 * 0.75 = 191.25


@pytest.mark.parametrize("grayscale", [True, False])
def test_several_cameras_are_drawn_as_each_alone(arm: Arm, grayscale: bool) -> None:
    cameras = (ModelCamera("wrist"), Camera(1.5, (0.3, 0, 0.2), 90, -45, "hand"))
    channels = 2 if grayscale else 4
    together = np.zeros((2 * channels, *SIZE), np.uint8)
    alone = np.zeros((2, channels, *SIZE), np.uint8)
    settings: Any = (*SIZE, "fast", grayscale, RANGE)
    with contextlib.closing(Renderer(cameras, *settings)) as renderer:
        EnvView(arm, renderer).render_into(together)
    for camera, frame in zip(cameras, alone, strict=True):
        with contextlib.closing(Renderer(camera, *settings)) as renderer:
            EnvView(arm, renderer).render_into(frame)
    assert np.array_equal(together, alone.reshape(together.shape))


def test_a_wrist_camera_moves_with_the_hand_and_a_fixed_one_does_not() -> None:
    """The green hand stands still in the picture of the camera that is mounted on it alone."""
    task = arm_task("top", "wrist", grayscale=False, stack=1)
    green = []
    with contextlib.closing(make_env(task, 1, seed=0, workers="serial")) as env:
        obs = env.reset()
        for _ in range(STEPS - 1):
            frame = obs["frame"][0].astype(int)
            green += [frame[at + 1] - frame[at] > 60 for at in (0, 3)]
            obs, *_ = env.step(np.ones((1, ACTIONS), np.float32))
    assert all(mask.any() for mask in green)
    assert not np.array_equal(green[0], green[-2])
    assert np.array_equal(green[1], green[-1])


@pytest.mark.parametrize("workers", ["thread", "process"])
def test_workers_of_all_kinds_draw_the_same(workers: Any) -> None:
    task = with_frames(TASKS["Hopper"], camera="track,default", rgb=True, depth=True)
    task = dataclasses.replace(task, frame_size=(16, 16))
    frames = []
    for kind in ("serial", workers):
        with contextlib.closing(make_env(task, 2, seed=1, workers=kind, n_workers=1)) as env:
            assert env.observation_space["frame"].shape == (4 * 8, 16, 16)  # pyright: ignore
            env.reset()
            frames.append(env.step(np.zeros((2, 3), np.float32))[0]["frame"])
    assert np.array_equal(*frames)
    assert len({frame.tobytes() for frame in frames[0][0, -8:]}) == 8  # no channel is a copy


# -- text ---------------------------------------------------------------------------------------


def test_names_are_those_of_cameras_then_of_bodies() -> None:
    model = arm_model()
    top, hand, free = parse_cameras("top, hand,distance=2,azimuth=0", model)
    assert top == ModelCamera("top")
    assert isinstance(hand, Camera)
    assert hand.track == "hand"
    assert isinstance(free, Camera)
    assert (free.distance, free.azimuth, free.track) == (2.0, 0.0, None)
    own = Camera(1, (0, 0, 0), 0, 0)
    assert parse_cameras("wrist,default", model, [own]) == (ModelCamera("wrist"), own)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tops", r"no camera 'tops'.*Its cameras: top, side, wrist\. Did you mean top"),
        ("top,hant", "no camera 'hant'.*Did you mean hand"),
        ("top,,wrist", "empty"),
        ("default", "no camera 'default'"),
        ("distance=1,distance=2", "each once"),
    ],
)
def test_unknown_cameras_are_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_cameras(text, arm_model())


@pytest.mark.parametrize("text", ["top,wrist,top", "hand,hand"])
def test_a_camera_twice_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="twice"):
        CameraSet(parse_cameras(text, arm_model()))


@pytest.mark.parametrize("text", ["1", "a:b", "2:1", "1:1", "-1:2", "1:2:3", "", "1:inf"])
def test_wrong_ranges_of_depth_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="`depth_range`"):
        parse_depth_range(text)
    assert parse_depth_range("0.25:2") == DepthRange(0.25, 2.0)


def test_frames_that_a_task_cannot_have_are_refused() -> None:
    blind = dataclasses.replace(TASKS["Pusher"], camera=None)
    with pytest.raises(UserError, match="Give `camera`"):
        with_frames(blind, depth=True)
    with pytest.raises(UserError, match="no effect without `depth`"):
        with_frames(TASKS["Pusher"], depth_range="1:2")
    with pytest.raises(UserError, match="`stack` 65"):
        with_frames(TASKS["Pusher"], stack=65)
    with pytest.raises(UserError, match="`frame_interval` 0"):
        with_frames(TASKS["Pusher"], frame_interval=0)
    game, procgen = (
        next(task for task in TASKS.values() if task.suite == suite)
        for suite in ("atari", "procgen")
    )
    given: dict[str, Any] = {
        "rgb": True,
        "depth": True,
        "camera": "top",
        "stack": 2,
        "frame_interval": 3,
    }
    for flag, value in given.items():
        with pytest.raises(UserError, match=f"`{flag}`"):
            with_frames(game, **{flag: value})
    assert with_frames(procgen, rgb=True) == procgen  # it is in colour already


def test_a_model_without_the_camera_is_refused_before_the_first_step() -> None:
    with pytest.raises(UserError, match="Its cameras: top, side, wrist"):
        make_env(arm_task("left"), 1, seed=0, workers="serial")


# -- views that fit ------------------------------------------------------------------------------


def test_a_default_view_shows_the_arm_wherever_its_joints_turn() -> None:
    """Every corner of every geom lies inside the cone that the frame's height spans."""
    model = arm_model()
    lookat, distance = default_view(model, find_body(model, "hand"))
    data, rng = mujoco.MjData(model), np.random.default_rng(1)
    hand = model.body("hand").id
    for _ in range(50):
        data.qpos[:] = rng.uniform(*model.jnt_range.T)
        mujoco.mj_kinematics(model, data)
        middle = np.array([*data.xpos[hand, :2], 0.0]) + lookat
        seen = model.body_rootid[model.geom_bodyid] == model.body_rootid[hand]
        far = np.linalg.norm(data.geom_xpos[seen] - middle, axis=1) + model.geom_rbound[seen]
        assert np.degrees(np.arcsin(far.max() / distance)) <= model.vis.global_.fovy / 2


def test_a_default_range_of_depth_spans_the_geoms_in_front_of_the_cameras() -> None:
    """`top` is at 2 m. The highest geom is the arm at 0.3 + 0.15 + 0.04 m (the sphere around the
    capsule has the radius 0.19 m), the lowest the block at 0.05 m with sqrt(3) * 0.05 m.
    """
    model = arm_model()
    near, far = 2 - 0.3 - 0.19, 2 - 0.05 + 3**0.5 * 0.05
    margin = 0.1 * (far - near)
    found = default_depth_range(model, [ModelCamera("top")])
    assert found.near == pytest.approx(near - margin, abs=0.0101)
    assert found.far == pytest.approx(far + margin, abs=0.0101)
    free = Camera(2.0, (0, 0, 0), azimuth=0, elevation=-90)  # the same place and direction
    assert default_depth_range(model, [free]) == found
