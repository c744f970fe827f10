"""Default flags of tasks and suites, and checks of flags against the task.

Those of the suites are from Spigler, "Proximal Policy Distillation", TMLR 2025 (arXiv 2407.15134),
table of hyperparameters.
Comments mark settings that the paper does not specify.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from Algorithm.method_registry import LEARNERS, METHODS, Method
from Common.errors import UserError
from Distillation.flags.groups import (
    CloningFlags,
    RunFlags,
    StudentFlags,
    TeacherFlags,
    TrainingFlags,
)
from Distillation.flags.resolve import Flags
from Enviroment.task import Suite, Task
from Models.families import GAUSSIAN
from Models.networks.paper import paper_student

# The paper uses a shorter horizon for Swimmer and Hopper; the tasks of the Hopper study follow.
_SHORT_HORIZON = ("Swimmer", "Hopper")

# Evaluations during training, which the paper does not specify. Episodes have up to 1,000 env
# steps: 20 evaluations of 10 ID and 10 OD episodes cost up to a fifth of the 2M training steps.
_EVAL_EVERY, _EVAL_EPISODES = 100_000, 10  # env steps; episodes
_EVAL_EVERY_OF_FRAMES = 25_000  # env steps, of which students of frames need fewer
# Methods that do not query a teacher during rollouts.
_NOT_LABELLED_LIVE = tuple(
    name for name, m in LEARNERS.items() if not m.has_teacher or not m.labels_live
)
_FINAL_EPISODES: dict[Suite, int] = {"procgen": 200}
# Env steps after which students of pixels have a skill of 0.95 (Results/Pusher/README.md), and the
# interval of evaluations.
_SHORT_RUNS = {("Pusher", "PPD"): (34_560, 6_912)}


def suite_defaults(task: Task, methods: Collection[str], mode: str | None) -> dict[str, Any]:
    """Return groups of default flags that differ from the general ones, by their name in `Flags`.

    Those of the paper are for its students. It has none of frames where there is a state.

    Args:
        methods: names of the given methods. Datasets and cloning are not part of the paper.
        mode: the given mode; None: the task's.
    """
    if not task.suite:
        return _short_run(task, methods)
    groups: dict[str, Any] = {"student": _student(task)}
    # The std of PPO teachers lies far above this bound, which is for SAC, whose std can vanish.
    # Datasets are of students of both kinds, so the labels of cloning do not depend on the mode.
    groups["teaching"] = TeacherFlags(min_teacher_std=0.01)
    of_paper = task.is_game or mode in (None, "State")
    if not methods or _any(methods, lambda method: method.family == "on_policy"):
        if of_paper:
            groups["teaching"] = TeacherFlags(min_teacher_std=0.01, clip_teacher_mean=False)
            groups["training"] = _training(task, methods)
            groups["run"] = RunFlags(
                eval_every=_EVAL_EVERY,
                eval_episodes=_EVAL_EPISODES,
                final_episodes=_FINAL_EPISODES.get(task.suite, 50),
            )
        else:
            groups["teaching"] = TeacherFlags()
            groups["run"] = RunFlags(eval_every=_EVAL_EVERY_OF_FRAMES, eval_episodes=5)
    if _any(methods, lambda method: method.family in ("cloning", "collection")):
        groups["cloning"] = CloningFlags(
            num_data=100_000, dataset="100k", rounds=5, round_gradient_steps=1_000
        )
    if _any(methods, lambda method: method.family == "cloning"):
        # The general defaults are for short episodes of an arm.
        groups["training"] = TrainingFlags(optimization_steps=8_000, batch_size=128)
        groups["run"] = RunFlags(eval_every=1_000, checkpoint_every=1_000)
    return groups


def _short_run(task: Task, methods: Collection[str]) -> dict[str, Any]:
    for method in methods:
        if (task.name, method) in _SHORT_RUNS:
            total_timesteps, eval_every = _SHORT_RUNS[task.name, method]
            return {
                "training": TrainingFlags(total_timesteps=total_timesteps),
                "run": RunFlags(eval_every=eval_every),
            }
    return {}


def _student(task: Task) -> StudentFlags:
    h, w = task.frame_size
    frames_alone = task.is_game  # a game has no state
    return StudentFlags(mode="ImpaalaMid" if frames_alone else "State", frame_size=f"{h}x{w}")


def _training(task: Task, methods: Collection[str]) -> TrainingFlags:
    short = task.suite == "hopper" or task.name in _SHORT_HORIZON
    return TrainingFlags(
        total_timesteps=2_000_000,
        num_envs=18,
        batch_size=512 if not methods or _any(methods, lambda m: "epochs" in m.options) else None,
        learning_rate=3e-4,
        learning_rate_schedule="constant",
        PPD_parameter=1.0,
        detach_ratio=False,
        gamma=0.995 if short else 0.999,
        gae_lambda=0.9,
        ent_coef=0.0,
    )


def check_task(task: Task, flags: Flags) -> None:
    """Check that the task supports the flags.

    Raises:
        UserError: the task lacks a state or a camera, or does not support an option.
    """
    method, student = flags.method, flags.student
    sees_state = student.mode == "State"
    if task.is_game:
        if flags.run.workers != "thread":
            raise UserError(
                f"--workers {flags.run.workers}: {task.name} runs in EnvPool's own threads. Leave "
                "it out."
            )
    elif not task.has_frames and student.camera is None and not sees_state:
        raise UserError(
            f"{task.name} has no camera for --mode {student.mode}. Give --camera (for MuJoCo) or "
            "--frames env (Custom.py, for pictures of env.render()), or train a student of the "
            "state with --mode State."
        )
    if not task.has_state:
        if sees_state:
            raise UserError(f"{task.name} has no state for --mode State, only frames.")
        if student.blind:  # a blind teacher cannot label rollouts
            method.refuse(
                f"--blind of {task.name}, whose teacher needs the frames,", _NOT_LABELLED_LIVE
            )
    if student.size:
        of_state = paper_student(task.suite, student.size, GAUSSIAN).mode == "State"
        if sees_state != of_state:
            raise UserError(
                f"--size {student.size} is a network on "
                f"{'the state' if of_state else 'frames'} in this suite, which contradicts --mode "
                f"{student.mode}. Leave out one of them."
            )


def _any(names: Collection[str], holds: Callable[[Method], bool]) -> bool:
    return any(holds(METHODS[name]) for name in names)
