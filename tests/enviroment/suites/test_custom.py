"""A user's own environment: what names it, what bad input says, and one short real run."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import gymnasium as gym
import mujoco
import numpy as np
import pytest

import Distillation
from Common.errors import UserError
from Distillation.custom_run import main_custom
from Distillation.starting.camera_preview import write_preview
from Enviroment.custom import (
    custom_task,
    describe_custom,
    named_task,
    parse_ranges,
    task_of,
    with_package,
)
from Enviroment.dataset.format import describe_task, described_task
from Enviroment.drawing.camera_text import default_view, parse_camera
from Enviroment.make import make_env, make_state_env
from Enviroment.simulation.making import make_simulation
from Enviroment.tasks import TASKS, Camera
from Evaluation.evaluate.subject import open_subject
from Models.teacher.adoption import adopt
from Models.teacher.policy import save_teacher
from tests.support.environments.picture_envs import bare_task
from tests.support.tiny_teacher import tiny_teacher

SCRIPT = Path(Distillation.__file__).parent / "Custom.py"
PACKAGE = """
import gymnasium as gym
from gymnasium.envs.mujoco.hopper_v5 import HopperEnv

gym.register("Mine-v0", entry_point=HopperEnv, max_episode_steps=12)
gym.register("Endless-v0", entry_point=HopperEnv)
"""
SHORT = (
    *("--total_timesteps", "24", "--num_envs", "2", "--num_steps", "4", "--batch_size", "4"),
    *("--eval_every", "1000", "--eval_episodes", "2", "--final_episodes", "2", "--threads", "1"),
    *("--device", "cpu", "--no_video", "--wandb", "disabled"),
)


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A third party's package, `their_robots.py`, in the folder that the user is in."""
    (tmp_path / "their_robots.py").write_text(PACKAGE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("their_robots", None)
    for name in ("Mine-v0", "Endless-v0"):
        gym.registry.pop(name, None)
    return tmp_path


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    trained = tiny_teacher("gaussian", 11, 3, 1.0, "Hopper", {"teacher": {"evaluation": [1.0] * 9}})
    save_teacher(tmp_path / "teacher", trained.state_dict(), trained.description, {})
    return tmp_path / "teacher"


@pytest.fixture
def model() -> mujoco.MjModel:  # pyright: ignore[reportAttributeAccessIssue]
    """A ball of 0.5 m at (1, 2, 3), with one of 0.1 m hung 1 m below it; and a floor."""
    return mujoco.MjModel.from_xml_string(  # pyright: ignore[reportAttributeAccessIssue]
        '<mujoco><visual><global fovy="60"/></visual><worldbody>'
        '<geom type="plane" size="40 40 1"/>'
        '<body name="ball" pos="1 2 3"><freejoint/><geom type="sphere" size="0.5"/>'
        '<body name="bob" pos="0 0 -1"><geom type="sphere" size="0.1"/></body></body>'
        "</worldbody></mujoco>"
    )


# -- what is typed ----------------------------------------------------------------------------


def test_ranges() -> None:
    assert parse_ranges("") == ()
    assert parse_ranges("0:17, 20:22,5000") == ((0, 17), (20, 22), (5000, 5001))


@pytest.mark.parametrize("text", ["3:1", "2:2", "a", "1:b", "-1:3", "1:2:3", "0;3", "1,0:2"])
def test_wrong_ranges_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="`proprio`"):
        parse_ranges(text)


def test_a_camera_is_what_its_text_says(model) -> None:
    text = "track=bob, distance=2.5,x=0.1,y=-1,z=3,azimuth=45, elevation=-15"
    assert parse_camera(text, model) == Camera(2.5, (0.1, -1.0, 3.0), 45.0, -15.0, "bob")


def test_what_a_camera_leaves_out_shows_the_body_and_all_that_hangs_on_it(model) -> None:
    """From the top of the ball, 3.5 m, to the bottom of the bob, 1.9 m; 1 m wide and deep. The
    sphere around that box has the radius sqrt(1 + 1 + 1.6^2) / 2, and fills 60 degrees from twice
    that.
    """
    radius = math.sqrt(1 + 1 + 1.6**2) / 2
    camera = parse_camera("bob", model)
    assert camera.track == "bob"
    assert camera.lookat == pytest.approx((0.0, 0.0, 2.7))
    assert camera.distance == pytest.approx(radius / 0.5, abs=1e-3)
    lookat, distance = default_view(model, None)  # the floor does not count
    assert lookat == pytest.approx((1.0, 2.0, 2.7))
    assert distance == camera.distance


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not valid"),
        ("distance=a", "distance 'a' is not a number"),
        ("distance=nan", "is not a number"),
        ("distance=-1", "must be above 0"),
        ("distanc=1", "'distanc=1' is not valid"),
        ("distance=1,distance=2", "each once"),
        ("track=bll", "Did you mean ball"),
        ("bll", "Did you mean ball"),
        ("3,0,0", "no such body"),
    ],
)
def test_wrong_cameras_are_refused(model, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_camera(text, model)


# -- tasks ------------------------------------------------------------------------------------


def test_a_custom_task_outlives_its_description() -> None:
    task = custom_task("their_robots:Mine-v0", "torso", "2:5,8:11")
    assert (task.name, task.env_id) == ("Mine-v0", "their_robots:Mine-v0")
    written = json.loads(json.dumps({"task": task.name, **describe_custom(task)}))
    assert task_of(written) == task
    assert task_of({"task": "Pusher", **describe_custom(TASKS["Pusher"])}) is TASKS["Pusher"]
    with pytest.raises(UserError, match="description of a task is invalid"):
        task_of({"custom_task": {"name": "Mine-v0"}})


def test_names_of_tasks_and_of_environments() -> None:
    assert named_task("Hopper") is TASKS["Hopper"]
    assert named_task("their_robots:Mine-v0").custom
    with pytest.raises(UserError, match="no task 'Hoper'"):
        named_task("Hoper")


def test_any_teacher_may_act_in_a_users_own_task(capsys: pytest.CaptureFixture[str]) -> None:
    trained = tiny_teacher("gaussian", 11, 3, 1.0, "Hopper", {"teacher": {"evaluation": [1.0]}})
    adopted = adopt(trained, custom_task("their_robots:Mine-v0"))
    assert adopted.description.task == "Mine-v0"
    assert adopted.description.baselines == {}  # they were measured on another task
    assert "trained on Hopper; here it acts in Mine-v0" in capsys.readouterr().err
    state = np.linspace(-1, 1, 11, dtype=np.float32)[None]
    np.testing.assert_array_equal(adopted.predict(state)[0], trained.predict(state)[0])
    assert adopt(trained, TASKS["Walker2d"]) is trained


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "Give --env_id"),
        (("--env_id",), "expected one argument"),
        (("--env_id", "their_robots:Nine-v0"), "Did you mean Mine-v0"),
        (("--env_id", "no_robots:Mine-v0"), "No module named 'no_robots'"),
        (("--env_id", "a b"), "not an environment id"),
        (("--env_id", "CartPole-v1", "--camera", "pole"), "not a MuJoCo environment"),
        (("--env_id", "their_robots:Mine-v0", "--camera", "tors"), "Did you mean torso"),
        (("--env_id", "their_robots:Mine-v0", "--PPD", "--mode", "ImpaalaSmall"), "--camera"),
        (("--env_id", "their_robots:Mine-v0", "--PPD"), "give its bundle (--teacher)"),
        (("--env_id", "their_robots:Mine-v0", "--camera", "torso", "--look", "no/a.png"), "--look"),
    ],
)
def test_bad_input_is_explained(
    flags: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main_custom(list(flags))
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_proprioception_outside_the_state_is_refused(
    teacher: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main_custom(
            [
                *("--env_id", "their_robots:Mine-v0", "--proprio", "3:12", "--PPD"),
                *("--teacher", str(teacher), "--output", "run"),
            ]
        )
    assert "3:12 is not a range of the state" in capsys.readouterr().err
    assert not Path("run").exists()


LOOK = ("--env_id", "their_robots:Mine-v0", "--camera", "torso", "--look", "look.png")


def test_the_look_of_a_camera_beside_gymnasiums_own(package: Path) -> None:
    """Above, four 480x480 pictures as `env.render()` makes them; below, four of the camera."""
    main_custom([*LOOK, "--frame_size", "32x64"])
    picture = cv2.imread("look.png")
    assert picture is not None
    assert picture.shape == (960 + 480, 4 * 960, 3)  # the camera's are twice as wide as high
    with contextlib.closing(gym.make("their_robots:Mine-v0", render_mode="rgb_array")) as env:
        env.reset(seed=0)
        first: Any = env.render()
    above = cv2.resize(picture[:960, :960, ::-1], (480, 480), interpolation=cv2.INTER_AREA)
    assert np.abs(above.astype(int) - first).mean() < 4  # INTER_AREA enlarges smoothly
    # In the corner, in a border of 2 pixels: the student's frame, enlarged 160 // 32 = 5 times.
    inset = picture[960 + 480 - 10 - 2 - 160 :, 10 + 2 :][:160, :320]
    np.testing.assert_array_equal(inset, np.repeat(np.repeat(inset[::5, ::5], 5, 0), 5, 1))
    assert inset.std() > 10


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--frame_sise", "32x32"), "--frame_sise"),
        (("--frame_size", "32"), "'32' is invalid"),
        (("--frame_size", "8x8"), "between 16 and 1024"),
        (("--mode", "State"), "--mode State has none"),
        (("--PPD", "--alpha", "1"), "not use these flags"),
    ],
)
def test_the_look_obeys_the_other_flags(
    flags: tuple[str, ...], message: str, package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main_custom([*LOOK, *flags])
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert message in said.out + said.err
    assert not (package / "look.png").exists()


def test_the_look_of_what_cannot_render_itself(capsys: pytest.CaptureFixture[str]) -> None:
    write_preview(bare_task(), Path("look.png"))
    assert "shows no env.render(): " in capsys.readouterr().err
    picture = cv2.imread("look.png")
    assert picture is not None
    assert picture.shape == (480, 4 * 480, 3)


# -- a run ------------------------------------------------------------------------------------


def test_a_pixel_student_of_a_third_partys_environment(package: Path, teacher: Path) -> None:
    """By the script, in a process of its own, from the folder that holds their module."""
    typed = [
        *("--env_id", "their_robots:Mine-v0", "--camera", "torso", "--proprio", "2:5,8:11"),
        *("--PPD", "--mode", "ImpaalaSmall", "--frame_size", "16x16"),
        *("--teacher", str(teacher), "--output", str(package / "run"), *SHORT),
    ]
    ended = subprocess.run(
        [sys.executable, str(SCRIPT), *typed], capture_output=True, text=True, cwd=package
    )
    assert ended.returncode == 0, ended.stderr
    config = json.loads((package / "run" / "config.json").read_text())
    assert config["command"] == " ".join(["python", "Distillation/Custom.py", *typed])
    assert config["config"]["custom_task"]["camera"]["track"] == "torso"
    figures = json.loads((package / "run" / "evaluation.json").read_text())
    assert "teacher_return" in figures  # measured here: the bundle knows only another task's
    described = open_subject(package / "run")  # as every tool of Evaluation opens it
    with pytest.raises(UserError, match="`env_id` their_robots:Mine-v0"):
        described.make_env(1)  # the folder's text alone runs no code
    assert "their_robots" not in sys.modules
    with pytest.raises(UserError, match="not the environment of the task"):
        open_subject(package / "run", "os:Mine-v0")
    subject = open_subject(package / "run", "their_robots:Mine-v0")
    subject.make_env(1).close()
    assert subject.task.proprio == ((2, 5), (8, 11))
    assert list(subject.student.all_groups().spaces) == ["frame", "proprio"]


# -- what a file may have imported --------------------------------------------------------------


def forged_task() -> dict[str, Any]:
    """Hopper, as the text of a bundle that would have `their_robots` imported."""
    task = dataclasses.replace(
        TASKS["Hopper"], env_id="their_robots:Mine-v0", custom=True, suite="", frame_size=(16, 16)
    )
    return describe_custom(task)


def test_the_text_of_a_student_or_a_dataset_imports_nothing() -> None:
    forged = forged_task()
    forged["custom_task"]["described"] = False  # nor does saying that it is no text
    dataset = describe_task(TASKS["Reacher"]) | {"env_id": "their_robots:Mine-v0"}
    for task in (task_of(forged), described_task(Path("manifest.json"), dataset)):
        for make in (make_simulation, lambda task: make_state_env(task, 1, 0)):
            with pytest.raises(UserError, match="`env_id` their_robots:Mine-v0"):
                make(task)
    assert "their_robots" not in sys.modules


def test_what_the_command_line_names_or_the_program_has_imported_may_be_used() -> None:
    forged = forged_task()
    env_id = "their_robots:Mine-v0"
    make_simulation(with_package(task_of(forged), env_id)).close()
    assert "their_robots" in sys.modules
    # By workers of their own processes, too.
    make_env(task_of(forged), 1, 0, workers="process").close()


def test_the_registrys_own_packages_are_imported_for_a_file() -> None:
    hopper = TASKS["CustomHopper-source"]
    for text in (describe_task(hopper), describe_task(TASKS["Reacher"])):
        assert not described_task(Path("manifest.json"), text).described
