"""The renderer against Gymnasium's own, and its life cycle."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from Common.errors import UserError
from Enviroment.drawing.env_view import EnvView
from Enviroment.drawing.renderer import Renderer
from Enviroment.task import Camera
from Enviroment.tasks import TASKS, Task

# Mean absolute difference between the fast and the reference picture, in gray levels (of 255), over
# ten scenes, as measured: missing shadows and unsmoothed edges; and on MuJoCo's suite missing
# reflections, in a floor that mirrors the sky.
MEASURED_DIFFERENCE = {"Pusher": 2.90, "Reacher": 0.82, "Ant": 17.30, "Hopper": 3.93}
SEEN = [TASKS[name] for name in MEASURED_DIFFERENCE]


def make_scene(task: Task, render_mode: str | None = None, seed: int = 0) -> gym.Env:
    """Gymnasium's environment with the task's camera, some random steps into an episode."""
    camera = task.camera
    assert isinstance(camera, Camera)
    lookat = np.array(camera.lookat)
    if camera.track is not None and render_mode is not None:
        # Gymnasium's free camera stays where it is set up: where the body will have come to.
        there = make_scene(task, None, seed)
        lookat[:2] += there.get_wrapper_attr("data").body(camera.track).xpos[:2]
        there.close()
    height, width = task.frame_size
    env = gym.make(
        task.env_id,
        disable_env_checker=True,
        render_mode=render_mode,
        width=width,
        height=height,
        camera_id=-1,  # the free camera; Gymnasium before 1.4 prefers one of the model, `track`
        default_camera_config={
            "type": 0,
            "distance": camera.distance,
            "lookat": lookat,
            "azimuth": camera.azimuth,
            "elevation": camera.elevation,
        },
    )
    env.reset(seed=seed)
    env.action_space.seed(seed)
    for _ in range(20):
        env.step(env.action_space.sample())
    return env


def camera_of(task: Task) -> Camera:
    assert isinstance(task.camera, Camera)
    return task.camera


def draw(env: gym.Env, task: Task, quality: Any, grayscale: bool = True) -> np.ndarray:
    with contextlib.closing(
        Renderer(camera_of(task), *task.frame_size, quality, grayscale)
    ) as renderer:
        return EnvView(env, renderer).render()


@pytest.mark.parametrize("task", SEEN, ids=MEASURED_DIFFERENCE)
def test_reference_quality_is_gymnasiums_own_picture(task):
    env = make_scene(task, "rgb_array")
    expected = np.asarray(env.render()).astype(int)
    colour = draw(env, task, "reference", grayscale=False)
    gray = draw(env, task, "reference")
    env.close()

    assert colour.shape == (*task.frame_size, 3)
    assert colour.dtype == gray.dtype == np.uint8
    np.testing.assert_array_equal(colour, expected)
    # BT.601 luma; OpenCV computes it in fixed point, so it may round the other way.
    luma = expected @ [0.299, 0.587, 0.114]
    assert gray.shape == task.frame_size
    assert np.abs(gray - luma).max() < 1.0


@pytest.mark.parametrize("task", SEEN, ids=MEASURED_DIFFERENCE)
def test_fast_quality_is_close_to_reference(task):
    differences = []
    for seed in range(10):
        env = make_scene(task, seed=seed)
        fast, reference = (draw(env, task, q).astype(int) for q in ("fast", "reference"))
        env.close()
        differences.append(np.abs(fast - reference).mean())
    assert np.mean(differences) < 1.25 * MEASURED_DIFFERENCE[task.name]


def test_model_is_left_alone():
    env = make_scene(TASKS["Pusher"])
    model = env.get_wrapper_attr("model")

    def settings() -> list[int]:
        quality, size = model.vis.quality, model.vis.global_
        names = ("shadowsize", "offsamples", "numslices", "numstacks", "numquads")
        return [*(getattr(quality, name) for name in names), size.offwidth, size.offheight]

    before = settings()
    draw(env, TASKS["Pusher"], "fast")
    assert settings() == before
    env.close()


def test_renderers_of_one_thread_do_not_disturb_each_other():
    pusher, reacher = TASKS["Pusher"], TASKS["Reacher"]
    scenes = {task.name: make_scene(task) for task in (pusher, reacher)}
    alone = {task.name: draw(scenes[task.name], task, "fast") for task in (pusher, reacher)}
    renderers = {t.name: Renderer(camera_of(t), *t.frame_size) for t in (pusher, reacher)}
    views = {name: EnvView(scenes[name], renderer) for name, renderer in renderers.items()}
    for name in ("Pusher", "Reacher", "Pusher"):
        picture = views[name].render()
        np.testing.assert_array_equal(picture, alone[name])
    renderers["Pusher"].close()
    picture = views["Reacher"].render()
    np.testing.assert_array_equal(picture, alone["Reacher"])
    renderers["Reacher"].close()


def test_pictures_are_not_overwritten_by_later_ones():
    task = TASKS["Pusher"]
    env = make_scene(task)
    renderer = Renderer(camera_of(task), *task.frame_size)
    view = EnvView(env, renderer)
    first = view.render()
    kept = first.copy()
    env.reset(seed=1)
    second = view.render()
    renderer.close()
    assert (second != kept).any()
    np.testing.assert_array_equal(first, kept)


def test_only_the_owning_thread_may_render_and_close():
    task = TASKS["Pusher"]
    env = make_scene(task)
    renderer = Renderer(camera_of(task), *task.frame_size)
    view = EnvView(env, renderer)
    errors = []

    def misuse() -> None:
        for call in (view.render, renderer.close):
            with pytest.raises(RuntimeError, match="belongs to the thread") as error:
                call()
            errors.append(error)

    thread = threading.Thread(target=misuse)
    thread.start()
    thread.join()
    assert len(errors) == 2
    renderer.close()


def test_closing_twice_is_harmless_and_rendering_after_it_is_not():
    task = TASKS["Pusher"]
    env = make_scene(task)
    renderer = Renderer(camera_of(task), *task.frame_size)
    view = EnvView(env, renderer)
    renderer.close()
    renderer.close()
    with pytest.raises(RuntimeError, match="closed"):
        view.render()


def test_unknown_quality():
    env = make_scene(TASKS["Pusher"])
    with pytest.raises(UserError, match=r"'ultra'.*fast or reference"):
        draw(env, TASKS["Pusher"], "ultra")


WITHOUT_GL = """
from Common.errors import UserError
from Enviroment.make import make_env, make_state_env

if __name__ == "__main__":
    for draw in (
        lambda: make_env("Pusher", 2, 0),
        lambda: make_env("Pusher", 2, 0, workers="process", n_workers=1),
    ):
        try:
            draw()
        except UserError as error:
            print(error)
    make_state_env("Pusher", 2, 0).reset()
    make_env("Pusher", 2, 0, blind=True).reset()
    print("physics goes on")
"""


@pytest.mark.parametrize(
    "backend",
    [
        "disable",  # MuJoCo imports, and has no contexts
        "nonsense",  # importing MuJoCo raises
    ],
)
def test_without_gl_the_user_is_told_and_physics_goes_on(backend, tmp_path):
    script = tmp_path / "without_gl.py"
    script.write_text(WITHOUT_GL)
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    result = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "MUJOCO_GL": backend, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count(f"MUJOCO_GL={backend!r}") == 2
    for hint in ("egl", "osmesa", "glfw", "apt-get install libegl1 libgl1-mesa-dri libgl1"):
        assert result.stdout.count(hint) >= 2
    assert "physics goes on" in result.stdout
    assert "Traceback" not in result.stderr


MUJOCO_FIRST = """
import os, threading
import mujoco, numpy

def draw():
    from Enviroment.make import make_env
    env = make_env("Pusher", 2, 0)
    print("drawn", env.reset()["frame"].std() > 1, os.environ["MUJOCO_GL"])
    env.close()

thread = threading.Thread(target=draw)
thread.start()
thread.join()
"""


def test_mujoco_may_be_imported_first_and_the_package_in_a_thread(tmp_path):
    """Without MUJOCO_GL, MuJoCo itself takes GLFW, which needs a display and the main thread."""
    script = tmp_path / "mujoco_first.py"
    script.write_text(MUJOCO_FIRST)
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    backendless = {name: value for name, value in os.environ.items() if name != "MUJOCO_GL"}
    result = subprocess.run(
        [sys.executable, str(script)],
        env={**backendless, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.strip() == "drawn True egl", result.stderr
