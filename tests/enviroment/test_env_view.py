"""Frames show the environment as it is now, and `env.render()` is the judge."""

# MuJoCo's compiled modules come without type stubs.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
import pytest

from Enviroment.drawing.env_view import EnvView
from Enviroment.drawing.renderer import Renderer
from Enviroment.drawing.uploaded import Glance
from Enviroment.make import make_env
from Enviroment.simulation.making import make_simulation
from Evaluation.video import video_fps
from tests.support.environments.picture_envs import (
    CAMERA,
    KINDS,
    SIZE,
    bare_task,
    judged,
    picture_task,
)

CHANGING = [kind for kind in KINDS if kind not in ("crowd", "transparent", "still")]


@pytest.fixture
def renderer() -> Iterator[Renderer]:
    with contextlib.closing(Renderer(CAMERA, *SIZE, "reference", grayscale=False)) as made:
        yield made


def two(kind: str, renderer: Renderer, midway: bool = False) -> list[tuple[gym.Env, EnvView]]:
    """Two environments of a kind that share a renderer, as those of a worker do."""
    envs = [make_simulation(picture_task(kind, midway)) for _ in range(2)]
    return [(env, EnvView(env, renderer)) for env in envs]


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_is_what_gymnasium_renders_at_that_moment(kind: str, renderer) -> None:
    pairs = two(kind, renderer)
    starts = []
    for episode in range(2):
        for index, (env, view) in enumerate(pairs):
            env.reset(seed=2 * episode + index)
            view.expect_changes()
            starts.append(view.render())
            np.testing.assert_array_equal(starts[-1], judged(env))
        for env, view in pairs:
            env.step(np.ones(1))
            np.testing.assert_array_equal(view.render(), judged(env))
    differ = [(a != b).any() for i, a in enumerate(starts) for b in starts[:i]]
    assert all(differ) if kind in CHANGING else not any(differ)


def test_a_goal_is_seen_though_the_callback_computes_no_positions(
    renderer: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is drawn where one is that `mj_forward` has placed, at two goals in turn."""
    (env, view), (lazy, lazy_view) = two("goal", renderer)
    simulation: Any = lazy.unwrapped

    def place() -> None:
        offset = (simulation.data.site_xpos - simulation.model.site_pos)[0].copy()
        simulation.model.site_pos[0] = np.array([*simulation.goal, 0.2]) - offset

    monkeypatch.setattr(lazy_view, "_callback", place)
    for seed in (4, 5):
        for one in (env, lazy):
            one.reset(seed=seed)
        before = simulation.model.site_pos.copy(), simulation.data.site_xpos.copy()
        np.testing.assert_array_equal(lazy_view.render(), view.render())
        np.testing.assert_array_equal(simulation.model.site_pos, before[0])
        np.testing.assert_array_equal(simulation.data.site_xpos, before[1])


@pytest.mark.parametrize("kind", CHANGING)
def test_what_changes_within_an_episode_is_seen_at_once(kind: str, renderer) -> None:
    for seed, (env, view) in enumerate(two(kind, renderer, midway=True)):
        env.reset(seed=seed)
        view.expect_changes()
        view.render()
        for _ in range(3):
            env.step(np.ones(1))
        np.testing.assert_array_equal(view.render(), judged(env))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_glance_at_a_large_texture_meets_every_channel(channels: int) -> None:
    """Of 300 x 300 texels it compares some thousands, and a change of one channel is in all."""
    nothing = np.zeros(0)
    model: Any = SimpleNamespace(
        tex_data=np.zeros(300 * 300 * channels, np.uint8),
        **dict.fromkeys(("hfield_data", "mesh_vert", "geom_type"), nothing),
    )
    for channel in range(channels):
        glance = Glance(model)
        assert not glance.sees_change()
        model.tex_data[channel::channels] += 1
        assert glance.sees_change()
        glance.remember()
        assert not glance.sees_change()


def test_environments_that_look_alike_share_what_is_uploaded(renderer) -> None:
    (first, one), (second, other) = two("texture", renderer)
    for seed in (0, 0, 1):
        first.reset(seed=0)
        second.reset(seed=seed)
        one.expect_changes()
        other.expect_changes()
        shows_the_same = (one.render() == other.render()).all()
        assert shows_the_same == (seed == 0) == (one._uploaded is other._uploaded)


def test_drawing_leaves_the_episode_as_it_is(renderer) -> None:
    """A render callback that calls `mj_forward` moves the solver's warm start, among others."""
    task = picture_task("goal")
    unseen, seen = make_simulation(task), make_simulation(task)
    view = EnvView(seen, renderer)
    for env in (unseen, seen):
        env.reset(seed=3)
    for _ in range(5):
        for env in (unseen, seen):
            env.step(np.full(1, 0.7))
        np.testing.assert_array_equal(view.render(), view.render())
        for name in ("qpos", "qacc_warmstart", "site_xpos", "time"):
            plain, drawn = (getattr(env.get_wrapper_attr("data"), name) for env in (unseen, seen))
            np.testing.assert_array_equal(plain, drawn)
        plain, drawn = (env.get_wrapper_attr("model").site_pos for env in (unseen, seen))
        np.testing.assert_array_equal(plain, drawn)


@pytest.mark.parametrize(
    ("kind", "workers"), [("goal", "serial"), ("texture", "serial"), ("rebuilt", "thread")]
)
def test_frames_of_workers_are_what_gymnasium_renders(kind: str, workers: Any) -> None:
    """Two environments, one worker, over the end of an episode."""
    task = picture_task(kind, grayscale=False, stack=1)
    twins = [make_simulation(task) for _ in range(2)]
    with contextlib.closing(
        make_env(task, 2, 0, quality="reference", workers=workers, n_workers=1)
    ) as env:
        seeds = [0, 1]
        frames = env.reset()["frame"]
        for twin, seed in zip(twins, seeds, strict=True):
            twin.reset(seed=seed)
        for _ in range(4):
            for index, twin in enumerate(twins):
                np.testing.assert_array_equal(frames[index].transpose(1, 2, 0), judged(twin))
            obs, _, dones, infos = env.step(np.ones((2, 1), np.float32))
            frames = obs["frame"]
            for index, twin in enumerate(twins):
                twin.step(np.ones(1, np.float32))
                if dones[index]:
                    last = infos[index]["terminal_observation"]["frame"]
                    np.testing.assert_array_equal(last.transpose(1, 2, 0), judged(twin))
                    seeds[index] += 2
                    twin.reset(seed=seeds[index])


def test_what_a_caller_changes_in_the_model_is_seen() -> None:
    task = picture_task("texture", stack=1)
    with contextlib.closing(make_env(task, 1, 0, workers="serial")) as env:
        before = env.reset()["frame"]
        (model,) = env.get_attr("model")
        texture = model.tex("floor").data
        texture[:] = 255 - texture
        assert (env.step(np.zeros((1, 1), np.float32))[0]["frame"] != before).any()


@pytest.mark.parametrize("n_envs", [1, 4])
def test_resets_that_change_the_state_and_no_pixel_are_told(n_envs: int) -> None:
    """At the first reset of four environments, and of one after as many episodes."""
    with (
        contextlib.closing(make_env(picture_task("still"), n_envs, 0, workers="serial")) as env,
        warnings.catch_warnings(record=True) as told,
    ):
        warnings.simplefilter("always")
        for _ in range(8 // n_envs):
            env.reset()
    (warning,) = told
    assert re.search(r"indices (2, 3|3, 2) of the state", str(warning.message))


@pytest.mark.parametrize(("kind", "blind"), [("goal", False), ("still", True)])
def test_what_is_seen_or_not_meant_to_be_is_not_told(kind: str, blind: bool) -> None:
    task = picture_task(kind)
    with (
        contextlib.closing(make_env(task, 4, 0, workers="serial", blind=blind)) as env,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("error")
        env.reset()


def test_a_reset_without_mj_forward_is_drawn_where_things_are(renderer) -> None:
    """`mj_resetData` alone leaves every place at 0, where nothing could be seen."""
    env = make_simulation(bare_task())
    view = EnvView(env, renderer)
    env.reset(seed=0)
    picture = view.render()
    assert not env.get_wrapper_attr("data").xpos.any()  # drawing has left it as it is
    mujoco.mj_forward(env.get_wrapper_attr("model"), env.get_wrapper_attr("data"))
    np.testing.assert_array_equal(picture, view.render())
    assert picture.std() > 10


def test_a_video_needs_no_metadata() -> None:
    """Five substeps of MuJoCo's 2 ms each are 100 env steps a second, of which 50 are drawn."""
    assert video_fps(bare_task()) == 50
