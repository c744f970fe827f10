"""Random looks: drawn from the episode's seed, within their ranges, seen in frames alone."""

# MuJoCo's compiled modules come without type stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import contextlib
import dataclasses
import math
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
import pytest

from Common.errors import UserError
from Enviroment.custom import describe_custom, describe_looks
from Enviroment.drawing.dressing import Dressing, rotation
from Enviroment.drawing.env_view import EnvView
from Enviroment.drawing.looks import (
    CameraChange,
    LookRanges,
    Looks,
    TurnedCameras,
    parse_look_ranges,
)
from Enviroment.drawing.renderer import Renderer
from Enviroment.make import make_env
from Enviroment.simulation.making import make_simulation
from Enviroment.simulation.mujoco_state import model_state
from Enviroment.tasks import TASKS

NONE = LookRanges().scaled(0)
PLAIN = dataclasses.replace(TASKS["Reacher"], frame_size=(24, 24))
RANDOM = dataclasses.replace(PLAIN, looks=LookRanges())
TEXTURED = """<mujoco><asset>
  <texture name="t" type="2d" builtin="checker" width="4" height="4" rgb1="1 1 1" rgb2="0 0 0"/>
  <material name="m" texture="t" rgba=".5 .5 .5 1"/></asset><worldbody>
  <light pos="0 0 3" dir="0 0 -1"/>
  <geom type="plane" size="1 1 .1" material="m"/><geom type="sphere" size=".1" rgba="1 0 0 1"/>
  <site size=".1" rgba="0 1 0 1"/></worldbody></mujoco>"""


def only(**ranges: float) -> LookRanges:
    return dataclasses.replace(NONE, **ranges)


def scene_of(
    model: mujoco.MjModel, looks: Looks | None, distance: float | None = 2.0
) -> mujoco.MjvScene:
    """The scene that a free camera sees from 2 m, straight from above."""
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    camera = mujoco.MjvCamera()
    camera.distance, camera.azimuth, camera.elevation = 2.0, 90, -90
    camera.lookat[:] = 0, 0, 0
    scene = mujoco.MjvScene(model, 100)
    mujoco.mjv_updateScene(
        *(model, data, mujoco.MjvOption(), mujoco.MjvPerturb(), camera),
        *(mujoco.mjtCatBit.mjCAT_ALL.value, scene),
    )
    if looks is not None:
        Dressing(looks, model, 1).change(scene, 0, distance)
    return scene


# -- what is drawn from a seed -----------------------------------------------------------------


def test_looks_are_a_pure_function_of_the_seed() -> None:
    ranges = LookRanges()

    def drawn(seed: int, n: int) -> list[float]:
        looks = Looks(ranges, seed)
        return [
            *looks.light(),
            *looks.colours(1, n)[:2].ravel(),
            *looks.light_turns(n)[:2].ravel(),
            *looks.contrasts(n)[:2],
            *np.hstack(dataclasses.astuple(looks.camera(1))),  # pyright: ignore
        ]

    assert drawn(7, 2) == drawn(7, 5)  # whatever else the model holds
    assert not set(drawn(7, 2)) & set(drawn(8, 2))
    assert Looks(ranges, 7).camera(0) != Looks(ranges, 7).camera(1)


def test_looks_stay_within_their_ranges_and_fill_them() -> None:
    ranges = LookRanges(
        *(1.0, 0.25, 10.0, 0.2, 0.5), camera_turn=4, camera_roll=2, camera_orbit=6, camera_zoom=0.1
    )
    drawn = [Looks(ranges, seed) for seed in range(400)]
    cameras = [looks.camera(0) for looks in drawn]
    factors = {
        2.0: [looks.light()[0] for looks in drawn],
        1.25: [looks.light()[1] for looks in drawn],
        1.5: [looks.contrasts(1)[0] for looks in drawn],
        1.1: [camera.zoom for camera in cameras],
    }
    for most, values in factors.items():
        assert 1 / most <= min(values) < 1 / most**0.95
        assert most**0.95 < max(values) <= most
        # Log-uniform: half of them are below 1.
        assert 150 < sum(value < 1 for value in values) < 250
    sums = {
        10.0: [np.degrees(np.linalg.norm(looks.light_turns(1))) for looks in drawn],
        0.2: [looks.colours(0, 1)[0, 2] for looks in drawn],
        4.0: [camera.turn[1] for camera in cameras],
        2.0: [camera.roll for camera in cameras],
        6.0: [camera.orbit[0] for camera in cameras],
    }
    for most, values in sums.items():
        assert 0.95 * most < np.abs(values).max() <= most


def test_less_of_the_ranges_gives_the_same_looks_but_weaker() -> None:
    half = Looks(LookRanges().scaled(0.5), 3).camera(0)
    whole = Looks(LookRanges(), 3).camera(0)
    assert half.turn == pytest.approx([angle / 2 for angle in whole.turn])
    assert Looks(NONE, 3).light() == (1.0, 1.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("light", "is not NAME=NUMBER"),
        ("light=bright", "is not NAME=NUMBER"),
        ("light=nan", "is not finite"),
        ("lite=0.5", "Did you mean light"),
        ("light=0.5,light=0.6", "light is given twice"),
        ("colour=1.5", "give 0 to 1, a share of full intensity"),
        ("camera_turn=-1", "give 0 to 90, degrees"),
        ("light=11", "give 0 to 10, a factor"),
        ("", "there is no range ''"),
    ],
)
def test_wrong_ranges_are_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_look_ranges(text)


def test_ranges_as_text_and_json() -> None:
    ranges = parse_look_ranges("light=0.8, camera_turn=5")
    assert ranges == dataclasses.replace(LookRanges(), light=0.8, camera_turn=5.0)
    assert LookRanges.from_json(ranges.as_json()) == ranges
    with pytest.raises(ValueError, match="lamp"):
        LookRanges.from_json({"lamp": 1.0})


# -- what becomes of a scene --------------------------------------------------------------------


def test_rotation_is_right_handed() -> None:
    # A quarter about z takes x to y.
    np.testing.assert_allclose(
        rotation(np.array([0, 0, math.pi / 2])) @ [1, 0, 0], [0, 1, 0], atol=1e-12
    )
    np.testing.assert_array_equal(rotation(np.zeros(3)), np.eye(3))


def test_lights_and_colours_by_hand() -> None:
    model = mujoco.MjModel.from_xml_string(TEXTURED)
    plain = scene_of(model, None)
    looks = Looks(LookRanges(light=1, ambient=1, light_angle=30, colour=0.3), 5)
    scene = scene_of(model, looks)
    light, ambient = looks.light()
    materials, geoms, sites = looks.colours(0, 1), looks.colours(1, 2), looks.colours(2, 1)
    reach = model.stat.extent
    for i in range(plain.nlight):  # the headlight, and that of the model
        old, new = plain.lights[i], scene.lights[i]
        np.testing.assert_allclose(new.diffuse, old.diffuse * light, rtol=1e-5)
        np.testing.assert_allclose(new.specular, old.specular * light, rtol=1e-5)
        np.testing.assert_allclose(new.ambient, old.ambient * light * ambient, rtol=1e-5)
    old, new = plain.lights[1], scene.lights[1]
    angle = np.degrees(np.arccos(np.dot(old.dir, new.dir)))
    assert 0.1 < angle <= 30
    # It still points at the same place, from another side.
    np.testing.assert_allclose(new.pos + reach * new.dir, old.pos + reach * old.dir, atol=1e-5)
    shown = {geom.objid: geom.rgba for geom in scene.geoms[: scene.ngeom] if geom.objtype == 5}
    np.testing.assert_allclose(shown[0][:3], 0.5 + materials[0], atol=1e-6)  # of the material
    np.testing.assert_allclose(shown[1][:3], np.clip([1, 0, 0] + geoms[1], 0, 1), atol=1e-6)
    site = next(geom.rgba for geom in scene.geoms[: scene.ngeom] if geom.objtype == 6)
    np.testing.assert_allclose(site[:3], np.clip([0, 1, 0] + sites[0], 0, 1), atol=1e-6)
    assert site[3] == 1.0


def test_cameras_by_hand() -> None:
    """From 2 m above, looking down with the top of the picture along y."""
    model = mujoco.MjModel.from_xml_string(TEXTURED)

    def camera(seed: int, **ranges: float) -> tuple[Any, Any]:
        looks = Looks(only(**ranges), seed)
        return scene_of(model, looks).camera[0], looks.camera(0)

    plain, _ = camera(1)
    np.testing.assert_allclose(plain.pos, [0, 0, 2], atol=1e-6)
    turned, change = camera(1, camera_turn=10)
    right, up = (math.radians(angle) for angle in change.turn)
    # To the right is along x, up is along y; a rotation about both by the angle of the vector.
    whole = math.hypot(right, up)
    side = math.sin(whole) / whole
    np.testing.assert_allclose(
        turned.forward, [right * side, up * side, -math.cos(whole)], atol=1e-6
    )
    np.testing.assert_allclose(turned.pos, [0, 0, 2], atol=1e-6)
    by_hand = TurnedCameras(30.0).of_episode(seed=1)
    np.testing.assert_allclose(
        scene_of(model, by_hand).camera[0].forward, [0.5, 0, -math.cos(math.pi / 6)], atol=1e-6
    )
    rolled, change = camera(1, camera_roll=10)
    roll = math.radians(change.roll)
    np.testing.assert_allclose(rolled.up, [math.sin(roll), math.cos(roll), 0], atol=1e-6)
    orbited, _ = camera(1, camera_orbit=10)
    assert abs(orbited.pos[0]) > 0.01
    np.testing.assert_allclose(orbited.pos + 2 * orbited.forward, [0, 0, 0], atol=1e-5)
    zoomed, change = camera(1, camera_zoom=0.5)
    assert zoomed.frustum_top == pytest.approx(plain.frustum_top / change.zoom)
    assert zoomed.frustum_bottom == pytest.approx(plain.frustum_bottom / change.zoom)
    # A camera that looks at no point in particular does not orbit.
    fixed = scene_of(model, Looks(only(camera_orbit=10), 1), distance=None).camera[0]
    np.testing.assert_allclose(fixed.pos, [0, 0, 2], atol=1e-6)


def test_a_turn_by_two_pixels_moves_the_picture_by_two_pixels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """45 degrees of 48 pixels: the centre moves by 24 tan(turn) / tan(22.5 degrees)."""
    turn = math.degrees(math.atan(2 / 24 * math.tan(math.radians(22.5))))
    change = CameraChange(turn=(turn, 0.0), roll=0.0, orbit=(0.0, 0.0), zoom=1.0)
    monkeypatch.setattr(Looks, "camera", lambda *_: change)
    task = dataclasses.replace(TASKS["Pusher"], frame_size=(48, 48))
    with contextlib.closing(make_simulation(task)) as env:
        env.reset(seed=0)
        with contextlib.closing(Renderer(task.camera, 48, 48)) as renderer:
            view = EnvView(env, renderer, NONE)
            plain = view.render().astype(int)
            view.begin(0)
            moved = view.render().astype(int)
    # The camera turns to the right, so the picture moves to the left.
    middle = moved[:, 6:-6]
    away = {
        shift: np.abs(middle - plain[:, 6 + shift : 42 + shift]).mean() for shift in range(-6, 7)
    }
    assert min(away, key=lambda shift: away[shift]) == 2


def test_contrast_of_textures_by_hand() -> None:
    model = mujoco.MjModel.from_xml_string(TEXTURED)
    before = model.tex_data.copy()
    assert set(before.tolist()) == {0, 255}
    looks = Looks(
        only(texture=1.0),
        next(s for s in range(9) if Looks(only(texture=1.0), s).contrasts(1)[0] < 1),
    )
    contrast = looks.contrasts(1)[0]
    shown = Dressing(looks, model, 1).textured(model).tex_data
    # Half of the pixels are white, so the mean is 127.5.
    wanted = {round(127.5 + contrast * side * 127.5) for side in (-1, 1)}
    assert set(shown.tolist()) == wanted
    np.testing.assert_array_equal(model.tex_data, before)
    assert Dressing(Looks(NONE, 1), model, 1).textured(model) is model


# -- what becomes of an episode -----------------------------------------------------------------


def episodes(task: Any, **settings: Any) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The frames of 120 steps in two environments, over two ends of episodes; all other numbers."""
    with contextlib.closing(make_env(task, 2, 900, **settings)) as env:
        obs: Any = env.reset()
        env.action_space.seed(3)
        frames, others = [obs["frame"]], [obs["state"]]
        for _ in range(120):
            obs, rewards, dones, infos = env.step(np.stack([env.action_space.sample()] * 2))
            frames.append(obs["frame"])
            others += [obs["state"], obs["proprio"], rewards, dones]
            frames += [
                i["terminal_observation"]["frame"] for i in infos if "terminal_observation" in i
            ]
    return frames, others


def test_only_frames_differ_from_those_of_the_plain_task() -> None:
    plain, random = episodes(PLAIN), episodes(RANDOM)
    for one, other in zip(plain[1], random[1], strict=True):
        assert one.tobytes() == other.tobytes()
    for one, other in zip(plain[0], random[0], strict=True):
        assert one.shape == other.shape
        assert np.abs(one.astype(int) - other).mean() > 1


def test_frames_do_not_depend_on_the_workers() -> None:
    one, other = episodes(RANDOM, workers="serial"), episodes(RANDOM, workers="process")
    for mine, theirs in zip(one[0], other[0], strict=True):
        assert mine.tobytes() == theirs.tobytes()


def test_looks_last_for_an_episode_and_belong_to_its_seed() -> None:
    with contextlib.closing(make_env(RANDOM, 1, 40, workers="serial")) as env:
        first: Any = [env.reset()["frame"][0, -1] for _ in range(2)]  # seeds 40 and 41
    with contextlib.closing(make_env(RANDOM, 1, 41, workers="serial")) as env:
        np.testing.assert_array_equal(env.reset()["frame"][0, -1], first[1])
    corner = first[0][:4, :4].astype(int), first[1][:4, :4].astype(int)
    assert np.abs(corner[0] - corner[1]).max() > 0


def test_the_environments_own_model_and_picture_stay_as_they_are() -> None:
    task = dataclasses.replace(TASKS["Hopper"], frame_size=(24, 24))  # with textures
    with contextlib.ExitStack() as stack:
        envs = [
            stack.enter_context(contextlib.closing(gym.make(task.env_id, render_mode="rgb_array")))
            for _ in range(2)
        ]
        for env in envs:
            env.reset(seed=1)
        before: Any = model_state(envs[0].unwrapped.model)
        pictures = [np.asarray(env.render()) for env in envs]
        np.testing.assert_array_equal(pictures[0], pictures[1])
        renderer = stack.enter_context(contextlib.closing(Renderer(task.camera, 24, 24)))
        view = EnvView(envs[0], renderer, LookRanges())
        plain = view.render()
        view.begin(2)
        assert np.abs(view.render().astype(int) - plain).mean() > 1
        assert model_state(envs[0].unwrapped.model) == before
        view.begin(3)
        for env in envs:
            env.step(np.full(3, 0.1))
        view.render()
        for name in ("qpos", "qvel", "qacc", "light_xpos", "light_xdir", "cam_xpos"):
            one, other = (getattr(env.unwrapped.data, name) for env in envs)
            assert one.tobytes() == other.tobytes()


def test_a_saved_environment_goes_on_with_the_looks_of_its_episode() -> None:
    with contextlib.closing(make_env(RANDOM, 2, 600)) as env:
        env.reset()
        actions = np.zeros((2, 2), np.float32)
        for _ in range(7):
            env.step(actions)
        state = env.save_state()  # pyright: ignore
        expected: Any = [env.step(actions)[0] for _ in range(60)]  # the next episode, too
    with contextlib.closing(make_env(RANDOM, 2, 0, workers="serial")) as env:
        env.restore_state(state)  # pyright: ignore
        for wanted in expected:
            np.testing.assert_array_equal(env.step(actions)[0]["frame"], wanted["frame"])
    for other in (PLAIN, dataclasses.replace(PLAIN, looks=LookRanges(light=0.1))):
        env = make_env(other, 2, 0)
        with contextlib.closing(env), pytest.raises(UserError, match="looks"):
            env.restore_state(state)  # pyright: ignore


# -- tasks --------------------------------------------------------------------------------------


def test_only_frames_of_a_camera_can_have_random_looks() -> None:
    for task, why in (
        (dataclasses.replace(PLAIN, camera=None, frames="env"), "not drawn by a `camera`"),
        (dataclasses.replace(PLAIN, camera=None), "not drawn by a `camera`"),
        (TASKS["Pong"], "a game's own"),
    ):
        with pytest.raises(UserError, match=f"`randomise_looks`: .* {why}"):
            dataclasses.replace(task, looks=LookRanges())


def test_turned_cameras_are_of_evaluations_alone() -> None:
    turned = dataclasses.replace(PLAIN, looks=TurnedCameras(2.0))
    assert describe_looks(turned) == {}
    assert describe_looks(RANDOM) == {"looks": LookRanges().as_json()}


def test_descriptions_of_older_versions_still_match() -> None:
    assert "looks" not in PLAIN.as_json()
    assert RANDOM.as_json()["looks"] == LookRanges().as_json()
    assert RANDOM.plain == PLAIN
    # A student's description has no looks of its task: it is evaluated without.
    custom = dataclasses.replace(RANDOM, custom=True)
    assert describe_custom(custom) == describe_custom(custom.plain)
