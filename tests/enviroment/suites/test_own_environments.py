"""Any Gymnasium environment: its spaces, arguments, wrappers, time limit, and its own pictures."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from Algorithm.env_state import capture_env, restore_env
from Common.errors import UserError
from Enviroment.custom import CUSTOM_TASK, custom_task, describe_custom, task_of, with_package
from Enviroment.drawing.env_render import fitted, rendered
from Enviroment.env_settings import parse_env_kwargs, parse_wrappers
from Enviroment.make import make_env, make_state_env
from Enviroment.simulation.making import make_environment, make_simulation
from Enviroment.state_layout import named_range, state_groups
from Enviroment.tasks import TASKS, Task
from tests.support.environments import own_envs
from tests.support.environments.own_envs import HEIGHT, LENGTH, OBSERVATIONS, WIDTH, Line

HALF = "tests.support.environments.own_envs:Half"


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    own_envs.register()
    yield
    own_envs.unregister()


def line(observations: str = "vector", actions: str = "discrete", **settings: Any) -> Task:
    kwargs = {"observations": observations, "actions": actions}
    return custom_task("Line-v0", env_kwargs=kwargs, **settings)


# -- frames -------------------------------------------------------------------------------------


def area_means(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The mean of the area of every new pixel, in float64, for sizes that divide the picture's."""
    (h, w), (rows, columns) = size, picture.shape[:2]
    return picture.reshape(h, rows // h, w, columns // w, -1).mean(axis=(1, 3), dtype=np.float64)


def luma(picture: np.ndarray) -> np.ndarray:
    return picture.astype(np.float64) @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


@pytest.mark.parametrize("grayscale", [True, False])
def test_frames_are_the_environments_own_pictures(grayscale: bool) -> None:
    task = dataclasses.replace(line(), frame_size=(18, 24), grayscale=grayscale)
    assert task.frames == "env"
    with contextlib.closing(make_env(task, 2, 5)) as env:
        stacks = [env.reset()["frame"]]
        for _ in range(LENGTH - 1):
            stacks.append(env.step(np.array([1, 2]))[0]["frame"])
        *_, infos = env.step(np.array([1, 2]))
    channels = 1 if grayscale else 3
    for row, action in enumerate((1, 2)):
        theirs = gym.make("Line-v0", render_mode="rgb_array")
        theirs.reset(seed=5 + row)
        for step in range(LENGTH + 1):
            picture: Any = theirs.render()
            wanted = area_means(luma(picture) if grayscale else picture, (18, 24))
            stack = (
                stacks[step][row] if step < LENGTH else infos[row]["terminal_observation"]["frame"]
            )
            newest = stack[-channels:].transpose(1, 2, 0)
            assert np.abs(newest - wanted).max() <= 1.01  # both round, after luma and after area
            theirs.step(action)


def test_frames_are_the_observation_of_an_environment_of_pictures() -> None:
    task = line("picture")
    assert (task.frames, task.frame_size, task.stack) == ("observation", (HEIGHT, WIDTH), 1)
    assert not (task.grayscale or task.has_state)
    with contextlib.closing(make_env(task, 1, 3)) as env:
        assert list(env.observation_space.spaces) == ["frame"]  # pyright: ignore
        frame = env.reset()["frame"][0]  # (3, H, W)
        theirs: Any = gym.make("Line-v0", observations="picture")
        np.testing.assert_array_equal(frame.transpose(1, 2, 0), theirs.reset(seed=3)[0])
        frame = env.step(np.array([2]))[0]["frame"][0]
        np.testing.assert_array_equal(frame.transpose(1, 2, 0), theirs.step(2)[0])
    with pytest.raises(UserError, match="no state, only frames"):
        make_state_env(task, 1, 0)
    with contextlib.closing(make_env(task, 1, 3, blind=True)) as env:
        assert not env.reset()["frame"].any()


@pytest.mark.parametrize("shape", [(8, 6), (8, 6, 1), (8, 6, 3), (3, 8, 6), (1, 8, 6)])
def test_pictures_of_every_form_are_fitted(shape: tuple[int, ...]) -> None:
    picture = np.random.default_rng(0).integers(256, size=shape).astype(np.uint8)
    rows_first = picture.transpose(1, 2, 0) if shape[0] in (1, 3) else picture.reshape(8, 6, -1)
    wanted = np.broadcast_to(area_means(rows_first, (4, 3)), (4, 3, 3))
    colour = fitted(picture, (4, 3), grayscale=False)
    assert colour.shape == (4, 3, 3)
    assert np.abs(colour - wanted).max() <= 0.51
    assert fitted(picture, (4, 3), grayscale=True).shape == (4, 3)
    colour[:] = 0  # a new array, into which an inset may be drawn
    assert picture.any()


def test_what_is_no_picture_is_refused() -> None:
    class Text(Line):
        def render(self) -> Any:
            return "a line"

    env = Text()
    with pytest.raises(UserError, match="returned a line, not a picture"):
        rendered(env)


def test_the_source_of_frames_is_chosen() -> None:
    """Pictures of MuJoCo's environments are drawn by a camera only, as `env.render()` is slow."""
    assert custom_task("Hopper-v5").has_frames is False
    assert custom_task("Hopper-v5", "torso").frames == "camera"
    with pytest.warns(RuntimeWarning, match=r"no display\nThere are no frames\."):
        assert custom_task("Dark-v0").has_frames is False
    assert line().frames == "env"
    assert line(frames="none").has_frames is False
    assert line("picture", frames="env").has_state  # of 36 * 48 * 3 numbers
    assert line("seen").frames == "env"  # pictures within a dictionary


def test_a_reset_that_always_fails_is_no_question_of_frames() -> None:
    """Advice to learn from the state would end in the same error."""

    class Unready(Line):
        def reset(self, **_: Any) -> Any:
            raise RuntimeError("no model file")

    gym.register("Unready-v0", lambda **_: Unready())
    try:
        with pytest.raises(UserError, match=r"reset\(\) of Unready-v0 fails(?s:.*)no model file$"):
            custom_task("Unready-v0")
    finally:
        del gym.registry["Unready-v0"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: line(frames="eye"), "`frames` 'eye' is not one of camera, env, observation, none"),
        (lambda: line(frames="camera"), "`frames` camera needs a `camera`"),
        (lambda: line(frames="observation"), "not a picture"),
        (lambda: custom_task("Hopper-v5", "torso", frames="env"), "Give `camera` or `frames` env"),
        (lambda: custom_task("Dark-v0", frames="env"), r"fails(?s:.*)RuntimeError: no display"),
        (lambda: line("picture", proprio="0:2"), "no state for `proprio`"),
    ],
)
def test_wrong_sources_of_frames_are_refused(make: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


# -- observations and actions --------------------------------------------------------------------


def flat(observation: Any) -> np.ndarray:
    """By hand: sorted keys, one-hot of two sides."""
    if "side" in observation:
        side = [1.0, 0.0] if observation["side"] == 0 else [0.0, 1.0]
        return np.concatenate([observation["goal"], observation["joints"], side])
    return np.concatenate([observation["goal"], *observation["robot"].values()])


@pytest.mark.parametrize(
    ("kind", "proprio", "ranges"),
    [
        ("groups", "joints", ((1, 3),)),
        ("groups", "side,joints", ((3, 5), (1, 3))),
        ("groups", "joints,0:1", ((1, 3), (0, 1))),
        ("nested", "robot", ((1, 5),)),
        ("nested", "robot.y", ((3, 5),)),
    ],
)
def test_a_dictionary_is_a_vector_in_the_order_of_its_names(
    kind: str, proprio: str, ranges: tuple[tuple[int, int], ...]
) -> None:
    task = line(kind, proprio=proprio)
    assert task.proprio == ranges
    theirs = Line(observations=kind)
    with contextlib.closing(make_env(task, 1, 3, blind=True)) as env:
        state, wanted = env.reset(), flat(theirs.reset(seed=3)[0])
        np.testing.assert_array_equal(state["state"][0], wanted)
        parts = [wanted[first:end] for first, end in ranges]
        np.testing.assert_array_equal(state["proprio"][0], np.concatenate(parts))
        np.testing.assert_array_equal(
            env.step(np.array([2]))[0]["state"][0], flat(theirs.step(2)[0])
        )


def test_a_table_is_a_vector_row_after_row() -> None:
    with contextlib.closing(make_state_env(line("table"), 1, 3)) as env:
        state = env.reset()[0]
    np.testing.assert_array_equal(state, Line(observations="table").reset(seed=3)[0].ravel())


def test_groups_have_the_sizes_of_gymnasiums_flattening() -> None:
    for kind in ("groups", "nested", "seen", "table", "picture"):
        assert state_groups(OBSERVATIONS[kind])[-1].end == spaces.flatdim(OBSERVATIONS[kind])
    pairs = spaces.Dict([("b", spaces.Discrete(2)), ("a", spaces.Discrete(3))])
    assert named_range(state_groups(pairs), "a") == (2, 5)  # pairs keep their order


def test_an_unknown_group_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"no group 'joint'.*Did you mean joints.*side \(3:5\)"):
        line("groups", proprio="joint")
    with pytest.raises(UserError, match=r"without names\. Give ranges"):
        line("vector", proprio="joints")
    with pytest.raises(UserError, match=r"part 'words' is Text.*`wrapper`"):
        line("told")


@pytest.mark.parametrize("actions", ["discrete", "choices", "switches", "box", "integers"])
def test_the_environment_receives_the_actions_as_they_are(actions: str) -> None:
    with contextlib.closing(make_env(line(actions=actions), 1, 0, workers="serial")) as env:
        env.reset()
        env.action_space.seed(0)
        given = np.asarray(env.action_space.sample())
        if actions == "integers":  # Stable-Baselines3 does not round for a box of integers
            given = given + np.float32(0.25)
        env.step(given[None])
        received = env.get_attr("received")[0][0]
    np.testing.assert_array_equal(received, given)
    assert received.dtype == (np.float32 if actions == "integers" else given.dtype)


@pytest.mark.parametrize(("actions", "message"), [("unbounded", "no bounds"), ("tuple", "Tuple")])
def test_actions_that_no_student_has_are_refused(actions: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_state_env(line(actions=actions), 1, 0)


# -- arguments, wrappers, time limit -------------------------------------------------------------


def test_arguments_are_typed_as_yaml_and_json() -> None:
    pairs = [
        "a=1",
        "b=1e-3",
        "c=no",
        "d=null",
        "e=left",
        'f={"g": [1, 2.5]}',
        "h=[]",
        "i=nan",
        "j=",
        "k='1e3'",
    ]
    values = parse_env_kwargs(pairs)
    wanted = {"a": 1, "b": 1e-3, "c": False, "d": None, "e": "left", "f": {"g": [1, 2.5]}, "h": []}
    assert values == {**wanted, "i": "nan", "j": None, "k": "1e3"}
    assert type(values["a"]) is int
    assert parse_wrappers("a.b:C, d:E") == ("a.b:C", "d:E")


@pytest.mark.parametrize("pairs", [["a"], ["1=2"], ["a=1", "a=2"], ["a={1"], ["a=[1, 2"], ["=1"]])
def test_wrong_arguments_are_refused(pairs: list[str]) -> None:
    with pytest.raises(UserError, match="`env_kwargs`"):
        parse_env_kwargs(pairs)


def test_settings_reach_the_environment_and_outlive_a_description() -> None:
    task = custom_task(
        "Line-v0", env_kwargs={"scale": 3.0, "sizes": [1, 2]}, max_episode_steps=4, wrappers=[HALF]
    )
    written = json.loads(json.dumps({"task": task.name, **describe_custom(task)}))
    for again in (task, task_of(written)):
        assert again == task
        with contextlib.closing(make_state_env(again, 1, 0)) as env:
            env.reset()
            assert env.get_attr("sizes") == [[1, 2]]
            *_, rewards, dones, _ = zip(*(env.step(np.array([0])) for _ in range(4)), strict=True)
        assert [bool(done[0]) for done in dones] == [False, False, False, True]
        theirs = Line(scale=3.0)
        theirs.reset(seed=0)
        np.testing.assert_allclose(rewards[0], [theirs.step(0)[1] / 2], rtol=1e-6)


def test_descriptions_of_earlier_versions_still_match() -> None:
    """Without new settings, a task is described as before they existed."""
    described = describe_custom(custom_task("Hopper-v5", "torso"))[CUSTOM_TASK]
    assert not {"frames", "env_kwargs", "max_episode_steps", "wrappers", "named"} & described.keys()
    assert "described" in TASKS["Pusher"].as_json()  # as in saved environments


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"env_kwargs": {"scael": 1}}, r"does not take one of `env_kwargs` scael.*It takes.*scale"),
        ({"env_kwargs": {"render_mode": "human"}}, "'render_mode' cannot be set"),
        ({"env_kwargs": {"max_episode_steps": 3}}, "flag of its own"),
        ({"max_episode_steps": 0}, "`max_episode_steps` 0 must be at least 1"),
        ({"wrappers": ["Half"]}, "not package:Class"),
        ({"wrappers": ["no_such:Half"]}, "No module named 'no_such'"),
        ({"wrappers": ["tests.support.environments.own_envs:Hal"]}, "Did you mean Half"),
        ({"wrappers": ["os:getcwd"]}, "no subclass getcwd of gymnasium.Wrapper"),
        ({"wrappers": ["tests.support.environments.own_envs:Greedy"]}, "environment alone"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"(?s){message}"):
        custom_task("Line-v0", **settings)


def test_a_wrapper_that_changes_the_actions_is_named() -> None:
    task = custom_task("Line-v0", wrappers=["tests.support.environments.own_envs:Talk"])
    with pytest.raises(
        UserError, match=r"Line-v0 in tests\.support\.environments\.own_envs:Talk are Text"
    ):
        make_state_env(task, 1, 0)


def test_a_files_wrappers_and_arguments_import_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "their_wrappers.py").write_text(
        "import gymnasium as gym\nclass Plain(gym.Wrapper):\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    wrapper = "their_wrappers:Plain"
    own = dataclasses.replace(line(), wrappers=(wrapper,))
    described = task_of({"task": own.name, **describe_custom(own)})
    for task in (described, with_package(described, "Line-v0")):
        with pytest.raises(UserError, match=f"`wrapper` {wrapper}"):
            make_simulation(task)
    make_simulation(with_package(described, None, wrapper)).close()
    with pytest.raises(UserError, match="is not that of the task"):
        with_package(described, None, "their_wrappers:Other")
    named = dataclasses.replace(line(), env_kwargs={"sizes": ["os:system"]})
    described = task_of({"task": named.name, **describe_custom(named)})
    with pytest.raises(UserError, match="may name code to import"):
        make_environment(described)
    make_environment(with_package(described, "Line-v0")).close()


def test_an_environment_that_truncates_itself_is_taken() -> None:
    task = custom_task("Endless-v0", env_kwargs={"own_limit": True})
    with contextlib.closing(make_env(task, 2, 0, blind=True, stagger=True)) as env:
        env.reset()
        ends = [env.step(np.zeros(2, int))[2:] for _ in range(LENGTH)]
    assert [dones.tolist() for dones, _ in ends[:-1]] == [[False, False]] * (LENGTH - 1)
    dones, infos = ends[-1]
    assert dones.all()
    assert all(info["TimeLimit.truncated"] and info["episode"]["l"] == LENGTH for info in infos)


@pytest.mark.parametrize("kind", ["serial", "thread"])
def test_a_reward_that_is_no_number_is_an_error(kind: Any) -> None:
    """Training would go on, and end with a teacher or student of NaN or of step 0."""
    task = line(wrappers=["tests.support.environments.own_envs:Broken"])
    with contextlib.closing(make_state_env(task, 2, 5, workers=kind)) as env:
        env.reset()
        expected = r"Environment 0 of task Line-v0 .* reward nan in step 1 .* with seed 5\. Rewards"
        with pytest.raises(UserError, match=expected):
            env.step(np.zeros(2, int))


def test_an_episode_that_nothing_ends_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("Enviroment.make.LONGEST_EPISODE", 8)
    with contextlib.closing(make_state_env(custom_task("Endless-v0"), 1, 0)) as env:
        env.reset()
        for _ in range(8):
            env.step(np.array([0]))
        with pytest.raises(UserError, match=r"within 8 env steps\. Give `max_episode_steps`"):
            env.step(np.array([0]))


def test_what_cannot_be_saved_resumes_with_the_next_episode_and_one_warning() -> None:
    def two() -> Any:
        return make_env(line(), 2, 10, workers="serial")

    with contextlib.closing(two()) as env, contextlib.closing(two()) as other:
        env.reset()
        for _ in range(LENGTH + 2):  # into the second episodes, of seeds 12 and 13
            env.step(np.zeros(2, int))
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            observation, restarted = restore_env(other, capture_env(env))
        assert restarted
        assert len(told) == 1
        assert "Line-v0 cannot be saved: it is not a MuJoCo environment" in str(told[0].message)
        marks = observation["state"][:, 2]  # pyright: ignore[reportCallIssue, reportArgumentType]
        assert marks.tolist() == [Line().reset(seed=seed)[0][2] for seed in (14, 15)]
