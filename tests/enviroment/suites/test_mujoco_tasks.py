"""The MuJoCo suite: what its groups hold, what its cameras show, and its settings."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
import pytest

from Algorithm.on_policy.config import DistillConfig, PPDConfig
from Common.errors import UserError
from Distillation.flags.parse import parse
from Enviroment.drawing.env_view import EnvView
from Enviroment.drawing.renderer import Renderer
from Enviroment.make import make_env, make_state_env
from Enviroment.simulation import part as simulation
from Enviroment.suites.mujoco_tasks import HOPPER_TASKS, MUJOCO_TASKS
from Enviroment.tasks import TASKS, Camera, Task, get_task
from Train_Teacher.settings.config import PPOTeacherConfig
from Train_Teacher.settings.defaults import default_algo, default_run

HOPPER = TASKS["Hopper"]


def by_name(tasks: tuple[Task, ...]) -> dict[str, Any]:
    return {"argvalues": tasks, "ids": [task.name for task in tasks]}


def test_the_suites_are_the_papers() -> None:
    names = [task.name for task in MUJOCO_TASKS]
    assert names == ["Ant", "HalfCheetah", "Hopper", "Humanoid", "Swimmer", "Walker2d"]
    assert all(task.env_id == f"{task.name}-v5" for task in MUJOCO_TASKS)
    assert [task.env_id.removeprefix("Enviroment.hopper:") for task in HOPPER_TASKS] == [
        "CustomHopper-source-v0",
        "CustomHopper-target-v0",
        "CustomHopper-source-udr-v0",
    ]
    assert all(task is TASKS[task.name] for task in (*MUJOCO_TASKS, *HOPPER_TASKS))


@pytest.mark.parametrize("task", **by_name((*MUJOCO_TASKS, HOPPER_TASKS[0])))
def test_proprioception_is_what_the_motors_joints_tell(task: Task) -> None:
    """The joints that have a motor, as MuJoCo itself has them; so nothing of the torso."""
    env = make_env(task, 1, 3, workers="serial", blind=True)
    env.reset()
    for _ in range(3):
        obs = env.step(np.full((1, *(env.action_space.shape or ())), 0.3, np.float32))[0]
    model, data = env.get_attr("model")[0], env.get_attr("data")[0]
    joints = np.unique(model.actuator_trnid[:, 0])
    expected = [data.qpos[model.jnt_qposadr[joints]], data.qvel[model.jnt_dofadr[joints]]]
    env.close()
    if task.name.endswith("Walker2d") or "Hopper" in task.name:
        expected[1] = expected[1].clip(-10, 10)  # as Gymnasium shows their velocities
    np.testing.assert_allclose(obs["proprio"][0], np.concatenate(expected), rtol=1e-6)


@pytest.mark.parametrize("task", **by_name(MUJOCO_TASKS))
def test_the_camera_shows_the_whole_body_wherever_it_is(task: Task) -> None:
    """What changes when the robot is made invisible is the robot: at least 3 percent of the
    picture, within its borders, and in the same place of it 7 m further on.
    """
    here, there = robot_masks(task)
    border = np.ones_like(here)
    border[1:-1, 1:-1] = False
    assert here.sum() > 0.03 * here.size
    assert not (here & border).any()
    # Where the floor behind it is as gray as the robot, it cannot be told from it.
    assert (here ^ there).sum() < 0.15 * here.sum()


def robot_masks(task: Task) -> list[np.ndarray]:
    """Where the robot is in the picture, at the origin and 7 m further on: bool (H, W)."""
    masks = []
    with (
        contextlib.closing(Scene(task, hidden=False)) as shown,
        contextlib.closing(Scene(task, hidden=True)) as hidden,
    ):
        for x in (0.0, 7.0):
            pictures = [scene.picture(x).astype(int) for scene in (shown, hidden)]
            masks.append(np.abs(pictures[0] - pictures[1]) > 3)
    return masks


class Scene:
    """A task's robot in its first pose, set down anywhere, and drawn."""

    def __init__(self, task: Task, hidden: bool) -> None:
        env = gym.make(task.env_id)
        env.reset(seed=0)
        self.data = env.get_wrapper_attr("data")
        self.model = copy.copy(env.get_wrapper_attr("model"))
        if hidden:
            self.model.geom_rgba[self.model.geom_bodyid > 0, 3] = 0.0
            self.model.geom_matid[self.model.geom_bodyid > 0] = -1
        assert task.camera is not None
        env.unwrapped.model = self.model  # type: ignore[attr-defined]
        self.renderer = Renderer(task.camera, *task.frame_size)
        self.view = EnvView(env, self.renderer)

    def close(self) -> None:
        self.renderer.close()

    def picture(self, x: float) -> np.ndarray:
        self.data.qpos[0] = x
        mujoco.mj_forward(self.model, self.data)  # pyright: ignore[reportAttributeAccessIssue]
        return self.view.render()


def test_a_tracking_camera_depends_on_nothing_but_the_state() -> None:
    """One renderer draws all environments of a worker, in turn."""
    with contextlib.closing(Scene(HOPPER, hidden=False)) as scene:
        first = scene.picture(0.0)
        assert (scene.picture(50.3) != first).any()
        np.testing.assert_array_equal(scene.picture(0.0), first)


def test_a_camera_cannot_track_what_is_not_there() -> None:
    task = dataclasses.replace(HOPPER, camera=Camera(1.0, (0, 0, 0), 0, 0, track="tors"))
    with pytest.raises(UserError, match="Did you mean torso"):
        make_env(task, 1, 0)


@pytest.mark.parametrize("bounds", [(0, 12), (11, 12)])
def test_proprioception_outside_the_state_is_refused(bounds: tuple[int, int]) -> None:
    task = dataclasses.replace(HOPPER, proprio=(bounds,))
    with pytest.raises(UserError, match=r"not a range of the state of Hopper-v5.* 0 to 10"):
        make_state_env(task, 1, 0)


def test_a_task_without_a_camera_has_no_frames_but_has_a_state() -> None:
    task = dataclasses.replace(HOPPER, camera=None)
    with pytest.raises(UserError, match="has no camera"):
        make_env(task, 1, 0)
    make_state_env(task, 1, 0).close()


def test_students_of_the_state_see_gymnasiums_own_and_nothing_is_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(simulation, "Renderer", None)  # calling it would fail
    env = make_state_env("Hopper", 2, 5, grouped=True)
    plain = [gym.make("Hopper-v5") for _ in range(2)]
    seeds = [5, 6]
    expected = [one.reset(seed=seed)[0] for one, seed in zip(plain, seeds, strict=True)]
    obs: Any = env.reset()
    assert list(obs) == ["state"]
    np.testing.assert_array_equal(obs["state"], np.array(expected, np.float32))
    ended = 0
    for step in range(60):
        actions = np.full((2, 3), (-1) ** (step // 7) * 0.9, np.float32)
        obs, rewards, dones, infos = env.step(actions)
        for i, one in enumerate(plain):
            state, reward, terminated, truncated, _ = one.step(actions[i])
            assert rewards[i] == np.float32(reward)
            assert dones[i] == terminated
            assert not truncated
            if terminated:
                last = infos[i]["terminal_observation"]["state"]
                np.testing.assert_array_equal(last, np.float32(state))
                seeds[i] += 2  # of the next episode: one further for each environment
                state, ended = one.reset(seed=seeds[i])[0], ended + 1
            np.testing.assert_array_equal(obs["state"][i], np.float32(state))
    assert ended > 2


def test_an_id_with_its_module_works_in_a_worker_process() -> None:
    """The process imports the module itself."""
    task = TASKS["CustomHopper-source"]
    env = make_env(task, 1, 4, workers="process", blind=True)
    try:
        there = env.reset()["state"]
        masses = env.env_method("get_parameters")[0]
    finally:
        env.close()
    here = gym.make(task.env_id)
    np.testing.assert_array_equal(there[0], np.float32(here.reset(seed=4)[0]))
    assert masses == pytest.approx(here.get_wrapper_attr("get_parameters")())


# -- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "gamma"), [("Hopper", 0.995), ("Swimmer", 0.995), ("Ant", 0.999), ("Walker2d", 0.999)]
)
def test_students_learn_by_the_papers_settings(name: str, gamma: float) -> None:
    flags = parse(TASKS[name], ["--PPD"])
    assert flags.on_policy() == PPDConfig(
        distill_lambda=1.0,
        n_steps=64,
        batch_size=512,
        n_epochs=4,
        learning_rate=3e-4,
        gamma=gamma,
        gae_lambda=0.9,
        ent_coef=0.0,
        detach_ratio=False,
    )
    assert (flags.training.num_envs, flags.total_timesteps) == (18, 2_000_000)
    assert flags.on_policy().learning_rate == flags.final_learning_rate(3e-4) == 3e-4
    distil = parse(TASKS[name], ["--Tdistillation"])
    assert distil.on_policy() == DistillConfig(n_steps=5, learning_rate=3e-4, gamma=gamma)
    stronger = parse(TASKS[name], ["--PPD", "--PPD_parameter", "2"]).on_policy()
    assert isinstance(stronger, PPDConfig)
    assert stronger.distill_lambda == 2.0


def test_the_papers_settings_are_of_its_suites_and_methods_alone() -> None:
    assert parse(TASKS["Pusher"], ["--PPD"]).on_policy().learning_rate == 1e-3
    cloned = parse(HOPPER, ["--BC_phase"])
    assert cloned.clone().batch_size == 128
    assert cloned.eval_every == 1_000  # gradient steps


@pytest.mark.parametrize(
    ("name", "n_steps", "ent_coef", "total"),
    [
        ("Hopper", 256, 0.01, 10_000_000),
        ("Swimmer", 256, 0.01, 10_000_000),
        ("HalfCheetah", 512, 0.0, 10_000_000),
        ("CustomHopper-source", 256, 0.01, 10_000_000),
        ("Pong", 256, 0.01, 10_000_000),
        ("Miner", 512, 0.01, 30_000_000),
    ],
)
def test_teachers_learn_by_the_papers_settings(
    name: str, n_steps: int, ent_coef: float, total: int
) -> None:
    task = get_task(name)
    assert default_algo(task) == "ppo"
    assert default_run(task, "ppo").settings == PPOTeacherConfig(
        total_timesteps=total,
        num_envs=18,
        n_steps=n_steps,
        batch_size=512,
        n_epochs=4,
        gamma=0.995,
        gae_lambda=0.9,
        ent_coef=ent_coef,
        learning_rate=3e-4,
        final_learning_rate=3e-4,
        net_arch=(256,) if task.is_game else (256, 256),
        activation="ReLU",
    )


def test_sac_is_not_for_games() -> None:
    with pytest.raises(UserError, match=r"discrete actions, which Pong requires\. Use --algo ppo"):
        default_run(get_task("Pong"), "sac")


@pytest.mark.parametrize(
    ("task", "flags", "message"),
    [
        ("Hopper", ("--PPD", "--size", "same", "--mode", "ImpaalaSmall"), "is a network on the"),
        ("Pong", ("--PPD", "--size", "same", "--mode", "State"), "Pong has no state for --mode"),
        ("Pong", ("--Dagger_phase", "--blind"), "--blind of Pong.* is for --PPO, --BC_phase"),
        ("Pusher", ("--PPD", "--size", "same"), "this task is in none"),
        ("Hopper", ("--PPD", "--size", "same", "--pooling", "2"), "leave out --pooling"),
        ("Hopper", ("--PPD", "--size", "same", "--init_from", "x"), "leave out --size"),
        ("Hopper", ("--PPD", "--final_learning_rate", "1e-5"), "Give only one"),
    ],
)
def test_what_does_not_fit_the_suite_is_refused(
    task: str, flags: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        parse(TASKS[task], list(flags))
