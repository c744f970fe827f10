"""Students of loops of a user's own become bundles that the tools open."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Algorithm.cloning.bc import BehaviouralCloning
from Algorithm.cloning.config import CloningConfig, DaggerConfig
from Algorithm.cloning.dagger import DAgger
from Algorithm.cloning.samples.array_samples import ArraySamples
from Algorithm.cloning.samples.data import TeacherSamples
from Algorithm.on_policy.ppd import PPD
from Common.errors import UserError
from Enviroment.custom import custom_task, describe_task
from Enviroment.dataset import TeacherDataset
from Enviroment.dataset.collect import collect
from Enviroment.make import make_env
from Enviroment.tasks import TASKS, Task
from Models.student.bundle import load_student, save_student
from Models.student.config import StudentConfig
from Models.student.policy import StudentPolicy
from Models.teacher.labels import TeacherLabeller
from Models.teacher.policy import Teacher
from vision_distillation import Student

FRAMES: dict[str, Any] = {"frame_size": (16, 24), "stack": 2, "frame_interval": 3}
OWN = custom_task("Reacher-v5", "distance=1", proprio="0:4")
SHORT = CloningConfig(gradient_steps=1, batch_size=4)


def policy_of(env: Any, **settings: Any) -> StudentPolicy:
    config = StudentConfig(precision="float32", head=(8,), **settings)
    return StudentPolicy(env.observation_space, env.action_space, lambda _: 0.0, config=config)


def assert_acts_alike(student: Student, policy: StudentPolicy, task: Task) -> None:
    """From single frames, as the policy does from the stacks of the environment."""
    env: Any = make_env(task, 1, seed=0, workers="serial")
    obs = env.reset()
    for _ in range(10):
        action = student.act(obs["frame"][0, -1:], obs["proprio"][0])
        np.testing.assert_array_equal(action, policy.predict(obs, deterministic=True)[0][0])
        obs, *_ = env.step(action[None])


@pytest.mark.parametrize("base", [TASKS["Reacher"], OWN])
def test_the_description_of_a_task_holds_its_frames(tmp_path: Path, base: Task) -> None:
    task = dataclasses.replace(base, **FRAMES)
    policy = policy_of(make_env(task, 1, 0))
    save_student(policy, tmp_path, describe_task(task))
    student = Student.load(tmp_path)
    assert student.task.camera_set == task.camera_set
    assert_acts_alike(student, policy, task)


def test_a_bundle_without_its_task_says_how_to_save_it(tmp_path: Path) -> None:
    save_student(policy_of(make_env("Reacher", 1, 0), mode="State"), tmp_path, {})
    with pytest.raises(UserError, match=r"holds no task.*describe_task\(task\)"):
        Student.load(tmp_path)


def test_a_student_of_the_state_has_no_frames_to_describe(tmp_path: Path) -> None:
    policy = policy_of(make_env("Reacher", 1, 0), mode="State")
    save_student(policy, tmp_path, describe_task(TASKS["Reacher"], frames=False))
    assert "camera_set" not in Student.load(tmp_path).description


@pytest.mark.parametrize("blind", [True, False])
def test_saved_dagger_is_a_student_of_its_environment(tmp_path: Path, blind: bool) -> None:
    task = dataclasses.replace(TASKS["Reacher"], **FRAMES)
    teacher = Teacher.load("Results/Reacher/teachers/sac")
    env = make_env(task, 2, 0, blind=blind)
    policy = policy_of(env, family=teacher.description.family)
    dagger = DaggerConfig(rounds=1, env_steps=8, gradient_steps=1)
    model = DAgger(policy, env, teacher, config=SHORT, dagger=dagger)
    model.learn()
    model.save(tmp_path)
    student = Student.load(tmp_path)
    assert student.subject.blind == blind
    if not blind:
        assert_acts_alike(student, policy, task)


def test_saved_cloning_is_a_student_of_its_recordings(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (100, 16, 16, 3), np.uint8)
    joints, ends = rng.normal(size=(100, 2)), np.arange(100) % 25 == 24
    samples = ArraySamples(frames, joints, joints, ends, frame_size=(16, 16), stack=3)
    env: Any = samples  # has the spaces of one
    model = BehaviouralCloning(policy_of(env, family=samples.family), samples, SHORT)
    model.learn()
    model.save(tmp_path, {"run": "mine"})
    student = Student.load(tmp_path)
    assert student.task.stack == 3 and student.description["run"] == "mine"
    assert student.act(frames[0], joints[0]).shape == (2,)


@pytest.mark.parametrize("blind", [True, False])
def test_saved_cloning_is_a_student_of_its_dataset(tmp_path: Path, blind: bool) -> None:
    task = dataclasses.replace(TASKS["Reacher"], frame_size=(16, 24))
    teacher = Teacher.load("Results/Reacher/teachers/sac")
    collect(task, TeacherLabeller(teacher), tmp_path / "data", 100)
    samples = TeacherSamples(TeacherDataset.open(tmp_path / "data", task=task), blind=blind)
    policy = policy_of(make_env(task, 1, 0), family=samples.family)
    model = BehaviouralCloning(policy, samples, dataclasses.replace(SHORT, held_out=0.0))
    model.save(tmp_path / "clone")
    student = Student.load(tmp_path / "clone")
    assert student.task.frame_size == (16, 24) and student.subject.blind == blind


def test_where_sb3_and_bundles_are_confused_the_error_says_what_to_do(tmp_path: Path) -> None:
    model = PPD("MlpPolicy", "CartPole-v1", distill_lambda=0.0, n_steps=8, batch_size=8)
    file, folder = tmp_path / "agent.zip", tmp_path / "bundle"
    model.save(file)
    folder.mkdir()
    for load in (Student.load, load_student):
        with pytest.raises(
            UserError, match=r"agent.zip is a file.*PPD\.load\(FILE.*save_student\("
        ):
            load(file)
    with pytest.raises(UserError, match=r"agent.zip is a file"):
        Student.load(tmp_path / "agent")
    wrong: Any = model
    with pytest.raises(UserError, match=r"`Student` of a PPD.*Student\.load\(.*save_student\("):
        Student(wrong)
    with pytest.raises(UserError, match=r"bundle is a folder.*Student\.load\(FOLDER\).*init_from"):
        PPD.load(folder)
    assert PPD.load(file).num_timesteps == 0
