"""Videos are decoded again, and compared with Gymnasium's own pictures."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import ClassVar

import gymnasium as gym
import imageio_ffmpeg
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.mujoco.reacher_v5 import ReacherEnv
from stable_baselines3.common.vec_env import DummyVecEnv

from Common.errors import UserError
from Enviroment.make import make_env, make_state_env
from Enviroment.tasks import TASKS, Camera
from Evaluation import video
from Evaluation.evaluate.episodes import policy_act, run_episodes
from Evaluation.gif import write_gif
from Evaluation.side_by_side.__main__ import SideBySideFlags
from Evaluation.side_by_side.film import film
from Evaluation.video import (
    draw_inset,
    drawn_steps,
    encode,
    play,
    record_video,
    video_fps,
    video_width,
    write_video,
)
from Models.student.bundle import save_student
from Models.student.policy import StudentConfig, StudentPolicy
from Models.teacher import shipped
from Models.teacher.policy import save_teacher
from tests.support.tiny_teacher import tiny_teacher

TASK = dataclasses.replace(TASKS["Reacher"], frame_size=(16, 24))
STEPS = 50  # of an episode of Reacher
HEIGHT, WIDTH = 128, 240  # 192 wide by proportion, but no video is below 240


class Seen(gym.Wrapper):
    """Reacher whose newest frame is as bright as twice the step; older ones are white."""

    def __init__(self, reward_error=0.0):
        super().__init__(gym.make("Reacher-v5"))
        self.reward_error = reward_error
        self.observation_space = spaces.Dict(
            frame=spaces.Box(0, 255, (4, 16, 24), np.uint8),
            state=spaces.Box(-np.inf, np.inf, (10,), np.float64),
        )

    def _observe(self, state):
        frame = np.full((4, 16, 24), 255, np.uint8)
        frame[-1] = 2 * self.step_count
        return {"frame": frame, "state": state}

    def reset(self, *, seed=None, options=None):
        self.step_count = 0
        state, info = self.env.reset(seed=seed, options=options)
        return self._observe(state), info

    def step(self, action):
        self.step_count += 1
        state, reward, terminated, truncated, info = self.env.step(action)
        return self._observe(state), float(reward) + self.reward_error, terminated, truncated, info


def act(obs):
    size = len(obs["state"] if isinstance(obs, dict) else obs)
    return np.full((size, 2), 0.1, np.float32)


def decode(path):
    reader = imageio_ffmpeg.read_frames(str(path))
    meta = next(reader)
    width, height = meta["size"]
    frames = [np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in reader]
    return meta, np.stack(frames).astype(float)


def gymnasium_episode(seed):
    """Return, first picture and last picture."""
    assert isinstance(TASK.camera, Camera)
    camera = dataclasses.asdict(TASK.camera) | {"lookat": np.array(TASK.camera.lookat)}
    camera.pop("track", None)  # of ours alone
    env = gym.make(
        "Reacher-v5",
        render_mode="rgb_array",
        width=WIDTH,
        height=HEIGHT,
        default_camera_config=camera,
    )
    env.reset(seed=seed)
    pictures, total = [env.render()], 0.0
    for _ in range(STEPS):
        total += float(env.step(np.full(2, 0.1, np.float32))[1])
    pictures.append(env.render())
    env.close()
    return total, np.array(pictures, float)


def test_a_video_shows_the_episode_and_what_the_student_sees(tmp_path):
    path = tmp_path / "videos" / "episode.mp4"
    recording = record_video(act, DummyVecEnv([Seen, Seen]), TASK, path, seed=11, height=HEIGHT)
    expected_return, expected = gymnasium_episode(11)
    assert recording.path == path
    assert recording.length == STEPS
    assert recording.episode_return == pytest.approx(expected_return, abs=1e-4)
    assert os.listdir(path.parent) == ["episode.mp4"]

    meta, frames = decode(path)
    assert frames.shape == (STEPS + 1, HEIGHT, WIDTH, 3)
    assert meta["codec"] == "h264"
    assert meta["pix_fmt"].startswith("yuv420p")
    assert meta["fps"] == 50  # Reacher's own
    # Height 128 / 3 = 42 holds 16 rows twice: the inset is 32 x 48, 12 pixels from the corner.
    inset = frames[:, -44:-12, 12:60]
    # The edge is left out: the border's white bleeds into it, since colour has half the size.
    brightness = inset[:, 4:-4, 4:-4].mean(axis=(1, 2, 3))
    np.testing.assert_allclose(brightness, 2.0 * np.arange(STEPS + 1), atol=4)
    assert frames[:, -46:-44, 14:58].mean() > 200  # the border
    rest = np.ones((HEIGHT, WIDTH), bool)
    rest[-50:, :66] = False
    apart = np.abs(frames[[0, -1], None] - expected)[:, :, rest].mean(axis=(2, 3))
    assert np.diag(apart).max() < 2  # what H.264 costs
    assert apart[0, 1] > 3  # what the arm's movement makes
    assert apart[1, 0] > 3


def test_without_frames_the_corner_stays_empty(tmp_path):
    path = tmp_path / "episode.mp4"
    env = DummyVecEnv([lambda: gym.make("Reacher-v5")])
    record_video(act, env, TASK, path, seed=11, height=HEIGHT)
    _, frames = decode(path)
    assert len(frames) == STEPS + 1
    assert np.abs(frames[0] - gymnasium_episode(11)[1][0]).mean() < 3


def test_a_caption_is_on_every_picture_and_names_the_outcome(tmp_path):
    """In fast quality, which the videos of evaluations have."""
    env = DummyVecEnv([Seen])
    played = play(act, env, TASK, 11)
    total, pictures = gymnasium_episode(11)
    # Reacher's fingertip is further than 2 cm from its target: actions of 0.1 lead nowhere.
    assert played.outcome(TASK).startswith(f"return {total:.1f}, no success (")
    path = write_video(played, TASK, tmp_path / "a.mp4", 11, HEIGHT, "PPD, 25k steps", "fast")
    _, frames = decode(path)
    assert len(frames) == STEPS + 1
    assert (frames[:, :30].max(axis=(1, 2, 3)) > 200).all()  # white letters
    assert np.median(frames[:, :20]) < np.median(pictures[0][:20]) / 2  # on a dark band
    below = frames[0, 60:, 80:].mean(axis=(0, 1))
    np.testing.assert_allclose(below, pictures[0][60:, 80:].mean(axis=(0, 1)), atol=20)


def broken(tmp_path, monkeypatch, what):
    """A path and an environment with which recording must fail."""
    if what == "encoder":
        monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/bin/false")
    if what == "folder":
        (tmp_path / "videos").write_text("not a folder")
    if what == "anything":
        monkeypatch.setattr(video, "draw_inset", lambda *_: {}["of another's code"])
    error = 0.5 if what == "replay" else 0.0
    return tmp_path / "videos" / "episode.mp4", DummyVecEnv([lambda: Seen(error)])


@pytest.mark.parametrize("what", ["encoder", "folder", "replay", "anything"])
def test_a_video_that_fails_warns_once_and_the_run_goes_on(tmp_path, monkeypatch, what):
    path, env = broken(tmp_path, monkeypatch, what)
    with pytest.warns(RuntimeWarning, match=r"Cannot record episode\.mp4") as warned:
        recording = record_video(act, env, TASK, path, seed=11, height=HEIGHT)
    assert len([w for w in warned if w.category is RuntimeWarning]) == 1
    assert recording.path is None
    assert recording.length == STEPS
    assert np.isfinite(recording.episode_return)
    assert list(tmp_path.rglob("*.mp4")) == []


def test_an_episode_that_cannot_be_played_is_a_warning_too(tmp_path):
    def failing(obs):
        raise ZeroDivisionError("in the policy")

    env = DummyVecEnv([Seen])
    with pytest.warns(RuntimeWarning, match="ZeroDivisionError: in the policy"):
        recording = record_video(failing, env, TASK, tmp_path / "a.mp4", seed=11)
    assert (recording.path, recording.length) == (None, 0)


def test_a_task_that_does_not_say_how_fast_it_is_has_its_steps_time():
    """Reacher's step is 2 x 0.01 s."""
    nameless = dataclasses.replace(TASK, env_id="TestNoFps-v0")
    assert video_fps(nameless) == 50


class NoFps(ReacherEnv):
    metadata: ClassVar = {"render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"]}

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.metadata = NoFps.metadata


gym.register("TestNoFps-v0", NoFps, max_episode_steps=STEPS)


def test_a_task_of_short_steps_is_drawn_every_third_step_and_at_its_end():
    hopper = TASKS["Hopper"]  # 125 steps a second
    assert video_fps(hopper) == pytest.approx(125 / 3)
    assert drawn_steps(7, hopper) == [0, 3, 6, 7]
    assert drawn_steps(6, hopper) == [0, 3, 6]
    assert drawn_steps(2, TASK) == [0, 1, 2]


def test_a_fast_task_has_a_short_video_of_the_same_length_in_seconds(tmp_path):
    hopper = dataclasses.replace(TASKS["Hopper"], frame_size=(16, 16))
    env = make_state_env(hopper, 1, 0)
    try:
        stand = record_video(lambda _: np.zeros((1, 3)), env, hopper, tmp_path / "a.mp4", 3, 64)
    finally:
        env.close()
    meta, frames = decode(tmp_path / "a.mp4")
    assert len(frames) == len(drawn_steps(stand.length, hopper)) < stand.length / 2.5
    assert len(frames) / meta["fps"] == pytest.approx(stand.length / 125, abs=0.06)


def test_the_inset_is_enlarged_by_nearest_neighbour():
    picture = np.zeros((60, 90, 3), np.uint8)
    view = np.array([[10, 20], [30, 40]], np.uint8)[..., None].repeat(3, 2)
    draw_inset(picture, view)  # 60 / 3 = 20 rows: 10 for each of the two
    inset = picture[-10 - 2 - 20 : -10 - 2, 12:32, 0]
    np.testing.assert_array_equal(inset, np.kron(view[..., 0], np.ones((10, 10), np.uint8)))
    bordered = picture[-34:-10, 10:34, 0]
    assert (bordered == 255).sum() == 24 * 24 - 20 * 20
    assert picture.any(axis=2).sum() == 24 * 24


@pytest.mark.parametrize("size", [(300, 20), (200, 2000), (61, 61)])
def test_a_large_view_is_made_smaller(size):
    picture = np.zeros((180, 180, 3), np.uint8)
    draw_inset(picture, np.full((*size, 3), 100, np.uint8))
    assert (picture == 100).any()
    assert not picture[: 180 - 10 - 60 - 4].any()


@pytest.mark.parametrize(
    ("frame_size", "width"),
    [((64, 128), 960), ((64, 64), 480), ((48, 85), 850), ((16, 1024), 1280), ((1024, 16), 240)],
)
def test_the_video_has_the_proportions_of_the_frames(frame_size, width):
    assert video_width(dataclasses.replace(TASK, frame_size=frame_size), 480) == width


# -- side by side ----------------------------------------------------------------------------------

SMALL = dataclasses.replace(TASKS["Reacher"], frame_size=(16, 16))


def write_student(folder, task="Reacher"):
    env = make_env(SMALL, 1, 0)
    try:
        config = StudentConfig(mode="ImpaalaSmall", family="squashed_gaussian")
        student = StudentPolicy(
            env.observation_space, env.action_space, lambda _: 0.0, config=config
        )
    finally:
        env.close()
    save_student(student, folder, {"task": task, "method": "PPD"})
    return folder


@pytest.fixture
def players(tmp_path):
    """A student's bundle, and a teacher's."""
    teacher = tiny_teacher(state_dim=10, action_dim=2, bound=1.0, task="Reacher")
    save_teacher(tmp_path / "teacher", teacher.state_dict(), teacher.description, {})
    return write_student(tmp_path / "student"), tmp_path / "teacher", teacher


def test_teacher_and_student_play_the_same_episode_beside_each_other(players, tmp_path, capsys):
    student, folder, teacher = players
    output, gif = tmp_path / "out.mp4", tmp_path / "out.gif"
    film(SideBySideFlags((student, student), folder, seed=5, height=64, output=output, gif=gif))

    described = json.loads((tmp_path / "out.json").read_text())
    names = [player["name"] for player in described["players"]]
    assert names == ["Teacher", "PPD, Small (student)", "PPD, Small (student)"]
    env = make_state_env(SMALL, 1, 0)
    expected = run_episodes(policy_act(teacher), env, SMALL, 5, 1).returns[0]
    env.close()
    assert described["players"][0]["return"] == pytest.approx(expected, abs=1e-4)
    assert described["players"][1] == described["players"][2]
    assert described["players"][1]["return"] != pytest.approx(expected, abs=0.1)

    meta, frames = decode(output)
    assert meta["codec"] == "h264"
    assert meta["pix_fmt"].startswith("yuv420p")
    # 51 pictures, and 1.5 s of the last one at 50 a second; a title of 56 rows; 240 is the least.
    assert frames.shape == (51 + 75, 56 + 64, 3 * 240 + 2 * 4, 3)
    teacher_panel, left, right = frames[:, :, :240], frames[:, :, 244:484], frames[:, :, 488:]
    assert np.abs(left - right).mean() < 1
    assert np.abs(frames[50, 56:] - frames[-1, 56:]).mean() < 1
    assert np.abs(teacher_panel[50] - left[50]).mean() > 3
    title = frames[0, :56, :240]
    assert title.max() > 200  # a name is written in white ...
    assert np.median(title) < 60  # ... on dark ground
    assert gif.stat().st_size < 2_000_000
    assert "out.gif" in capsys.readouterr().out


def test_without_a_teacher_students_are_shown_alone(players, tmp_path, capsys, monkeypatch):
    for name in ("SHIPPED", "RESULTS"):
        monkeypatch.setattr(shipped, name, tmp_path / "nothing shipped")
    output = tmp_path / "out.mp4"
    student = players[0]
    film(SideBySideFlags((student,), names=("mine",), height=64, output=output))
    assert "give it by --teacher BUNDLE" in capsys.readouterr().err
    described = json.loads((tmp_path / "out.json").read_text())
    assert [player["name"] for player in described["players"]] == ["mine"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"runs": ("nowhere",)}, "nowhere"),
        ({"teacher": "nowhere"}, "no teacher at"),
        ({"runs": ("student", "pusher")}, "A video shows a single task"),
        ({"names": ("a", "b")}, "2 names for 1 runs"),
        ({"seed": -1}, "seeds start at 0"),
        ({"height": 20}, "outside 64 to 1080"),
        ({"output": "out.avi"}, "must end in .mp4"),
        ({"gif": "out.png"}, "must end in .gif"),
        ({"output": "no/out.mp4"}, "folder that exists"),
        ({"output": "evaluation.mp4"}, "would be overwritten"),
    ],
)
def test_a_film_that_cannot_be_is_refused_at_once(players, tmp_path, change, said):
    write_student(tmp_path / "pusher", "Pusher")
    (tmp_path / "evaluation.json").write_text("{}")
    flags = {"runs": ("student",), "teacher": "teacher", "output": "out.mp4"} | change
    flags["runs"] = tuple(tmp_path / run for run in flags["runs"])
    for name in {"teacher", "output", "gif"} & flags.keys():
        flags[name] = tmp_path / flags[name]
    with pytest.raises(UserError, match=said):
        film(SideBySideFlags(**flags))
    assert not list(tmp_path.glob("out.*"))
    assert (tmp_path / "evaluation.json").read_text() == "{}"


def test_an_interrupted_video_leaves_the_older_one(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"older")

    def pictures():
        yield from np.zeros((3, 16, 16, 3), np.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode(pictures(), (16, 16), 20, tmp_path / "a.mp4")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.mp4": b"older"}


def test_a_gif_gets_narrower_until_it_fits(tmp_path):
    rng = np.random.default_rng(0)
    pictures = (rng.integers(0, 256, (160, 320, 3), np.uint8) for _ in range(8))
    encode(pictures, (320, 160), 20, tmp_path / "noise.mp4")
    path = tmp_path / "noise.gif"
    assert write_gif(tmp_path / "noise.mp4", path, 320, max_bytes=10_000_000) == 320
    size = path.stat().st_size
    assert path.read_bytes()[:6] == b"GIF89a"
    width = write_gif(tmp_path / "noise.mp4", path, 320, max_bytes=size - 1)
    assert 240 <= width < 320
    assert path.stat().st_size < size
    with pytest.raises(UserError, match="does not fit"):
        write_gif(tmp_path / "noise.mp4", path, 320, max_bytes=1000)
