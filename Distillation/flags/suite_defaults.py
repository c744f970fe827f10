"""The settings of the PPD paper, as the defaults of the flags for the tasks of its suites; and
what such a task cannot do.

Spigler, "Proximal Policy Distillation", TMLR 2025 (arXiv 2407.15134), table of hyperparameters.
What it leaves open, or what evaluation costs, says so.
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
from Models.distributions import DiagGaussian
from Models.networks.paper import paper_student

# Swimmer's and Hopper's teachers and students share a shorter horizon; so do the study's Hoppers.
_SHORT_HORIZON = ("Swimmer", "Hopper")

# The paper's evaluations are of a finished student; these are how often one looks in between.
# Episodes are up to 1,000 env steps: 10 each on ID and OD seeds, 20 times in 2M steps, play a
# fifth of what is trained on.
_EVAL_EVERY, _EVAL_EPISODES = 100_000, 10  # env steps; episodes
# Atari is deterministic after at most 30 first steps of doing nothing: without random actions a
# teacher would have some thirty different episodes. Procgen's can be stuck without.
_GAME_NOISE = 0.1  # share of random actions
# Methods that ask no teacher while they act.
_NOT_LABELLED_LIVE = tuple(
    name for name, m in LEARNERS.items() if not m.has_teacher or not m.labels_live
)
_FINAL_EPISODES: dict[Suite, int] = {"procgen": 200}


def suite_defaults(task: Task, methods: Collection[str]) -> dict[str, Any]:
    """Groups of flags by their name in `Flags`; none for a task without a suite.

    Args:
        methods: flags of the methods that were asked for. Datasets and cloning are not the
            paper's, and learn as they do elsewhere.
    """
    if not task.suite:
        return {}
    groups: dict[str, Any] = {
        "student": _student(task),
        # Its teachers are PPO agents, used as they are; far below their deviations, this floor
        # is for SAC's, which can vanish.
        "teaching": TeacherFlags(min_teacher_std=0.01),
    }
    if not methods or _any(methods, lambda method: method.family == "on_policy"):
        groups["training"] = _training(task, methods)
        groups["run"] = RunFlags(
            eval_every=_EVAL_EVERY,
            eval_episodes=_EVAL_EPISODES,
            final_episodes=_FINAL_EPISODES.get(task.suite, 50),
        )
    if task.is_game and _any(methods, lambda method: "noise" in method.options):
        groups["cloning"] = CloningFlags(behaviour_noise=_GAME_NOISE)
    return groups


def _student(task: Task) -> StudentFlags:
    h, w = task.frame_size
    frames_alone = task.is_game  # a game has no state to show
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
    """Refuses what the task does not have.

    Raises:
        UserError: says what, and what to give instead.
    """
    method, student = flags.method, flags.student
    sees_state = student.mode == "State"
    if task.is_game:
        if flags.run.workers != "thread":
            raise UserError(
                f"--workers {flags.run.workers}: {task.name} runs in EnvPool's own threads. Leave "
                "it out."
            )
        if sees_state:
            raise UserError(f"{task.name} has no state for --mode State, only frames.")
        if student.blind:  # what is labelled live would be labelled by a blind teacher
            method.refuse(
                f"--blind of {task.name}, whose teacher needs its frames,", _NOT_LABELLED_LIVE
            )
    elif task.camera is None and not sees_state:
        raise UserError(
            f"{task.name} has no camera for --mode {student.mode}. Give one by --camera where "
            "there is that flag, or train a student of the state: --mode State."
        )
    if student.size:
        of_state = paper_student(task.suite, student.size, DiagGaussian.family).mode == "State"
        if sees_state != of_state:
            raise UserError(
                f"--size {student.size} is the paper's network on "
                f"{'the state' if of_state else 'frames'} in this suite, and --mode "
                f"{student.mode} sees something else. Leave out one of them."
            )


def _any(names: Collection[str], holds: Callable[[Method], bool]) -> bool:
    return any(holds(METHODS[name]) for name in names)
