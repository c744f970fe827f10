"""Create the student and the algorithm of the chosen method."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.utils import LinearSchedule, set_random_seed
from stable_baselines3.common.vec_env import VecEnv

from Algorithm import distributed
from Algorithm.cloning.bc import BehaviouralCloning
from Algorithm.cloning.dagger import DAgger
from Algorithm.cloning.samples.data import TeacherSamples
from Algorithm.cloning.samples.recorded_labels import RecordedLabels
from Algorithm.distributed import share_of
from Algorithm.on_policy.config import OnPolicyConfig
from Algorithm.on_policy.loop import OnPolicyStudent
from Algorithm.reward_normaliser import RewardNormaliser
from Common.device import fastest_precision
from Common.runs.run_folder import CHECKPOINTS, STUDENT
from Distillation.flags.resolve import Flags
from Distillation.starting.cloned_run import read_cloned_run
from Distillation.starting.initial_student import InitialStudent
from Distillation.starting.teacher_critic import (
    give_critic,
    keep_reward_scale,
    with_critic_of,
)
from Distillation.starting.teacher_data import find_dataset
from Distillation.starting.teaching import TeacherSetup
from Enviroment import seeds
from Enviroment.dataset.reader import TeacherDataset
from Enviroment.make import make_env, make_state_env
from Enviroment.observations import PROPRIO, STATE
from Enviroment.tasks import Task
from Enviroment.worlds.make import make_worlds
from Models.adam import FUSED_ADAM
from Models.networks.backbone import Backbone
from Models.networks.paper import paper_student
from Models.student.bundle import load_student
from Models.student.config import StudentConfig
from Models.student.policy import StudentPolicy
from Models.teacher.policy import Teacher

_LOG_EVERY = 1_152  # env steps between logging points: one rollout of PPD


@dataclass(frozen=True)
class Setting:
    """Inputs of all methods."""

    task: Task  # with the frame size of this run
    flags: Flags
    teacher_setup: TeacherSetup
    device: torch.device
    eval_env: VecEnv  # defines the student's spaces; only for evaluation
    initial: InitialStudent | None = None  # initial weights of the student
    backbone: Backbone | None = None  # frozen weights of the user's own encoder

    @property
    def teacher(self) -> Teacher:
        """Return the teacher."""
        return self.teacher_setup.teacher

    @property
    def provenance(self) -> dict[str, Any]:
        """Return the entries on corruption and initial student for configuration and bundle."""
        begun = {} if self.initial is None else {"init_from_sha256": self.initial.sha256}
        return {**self.teacher_setup.corruption_record, **begun}

    def give_weights(self, policy: StudentPolicy) -> None:
        """Copy the weights of initial student, teacher's critic and backbone into a student."""
        if self.initial is not None:
            learns_rewards = self.flags.method.chosen.learns_rewards
            self.initial.give_weights(policy, learns_rewards=learns_rewards)
        if self.flags.training.teacher_critic:
            give_critic(self.teacher, policy)
        if self.backbone is not None:
            self.backbone.give_weights(policy.encoder, policy.config.mode)


@dataclass(frozen=True)
class ReadyMethod:
    """A method that is ready to train."""

    model: OnPolicyStudent | BehaviouralCloning | DAgger
    learn: Callable[[BaseCallback], Any]
    id_seed: int  # first training seed
    env: VecEnv | None  # training environments; the caller closes them
    take_skill: Callable[[float], None] | None = None  # receives the student's skill

    @property
    def policy(self) -> StudentPolicy:
        """Return the student."""
        assert isinstance(self.model.policy, StudentPolicy)
        return self.model.policy


def make_method(setting: Setting, run_folder: Path) -> ReadyMethod:
    """Create the chosen method.

    Args:
        run_folder: folder for the last and the best student of cloning, and of its dataset.

    Raises:
        UserError: teacher, dataset, environment or BC run do not fit.
    """
    method = setting.flags.method.chosen
    if method.family == "on_policy":
        return _make_on_policy(setting)
    make = _make_dagger if "rounds" in method.options else _make_cloning
    return make(setting, run_folder)


def make_student_env(
    task: Task, flags: Flags, n_envs: int, seed: int, *, stagger: bool = False
) -> VecEnv:
    """Create environments with the observations of this run's student."""
    threads, workers = flags.run.threads, flags.run.workers
    shared: dict[str, Any] = {
        "n_workers": None if threads is None else min(threads, n_envs),
        "stagger": stagger,
    }
    if flags.student.mode == "State":
        kind = "serial" if workers == "thread" else workers
        return make_state_env(task, n_envs, seed, grouped=True, workers=kind, **shared)
    return make_env(task, n_envs, seed, blind=flags.student.blind, workers=workers, **shared)


def _make_training_env(
    setting: Setting, n_envs: int, seed: int, *, stagger: bool, tensors: bool
) -> VecEnv:
    """Create the training environments, in the simulator of the run.

    Args:
        tensors: whether the learner takes observations on the device, where they are.
    """
    task, flags = setting.task, setting.flags
    if flags.training.simulator == "gymnasium":
        return make_student_env(task, flags, n_envs, seed, stagger=stagger)
    return make_worlds(
        *(task, n_envs, seed, setting.device),
        tensors=tensors,
        sees=flags.student.mode != "State",
        blind=flags.student.blind,
        stagger=stagger,
        rollout=flags.on_policy().n_steps if tensors else 0,
    )


def _make_on_policy(setting: Setting) -> ReadyMethod:
    flags, training = setting.flags, setting.flags.training
    method = flags.method.chosen
    id_seed = seeds.training(training.run_index).start
    rows = share_of(training.num_envs, "--num_envs")
    inner = _make_training_env(setting, len(rows), id_seed, stagger=True, tensors=True)
    if len(rows) < training.num_envs:
        inner.take_rows(rows.start, training.num_envs)  # pyright: ignore[reportAttributeAccessIssue]
    # A critic that regresses to the teacher's values learns them in unnormalised rewards.
    own_rewards = not method.learns_rewards and setting.teacher.description.value_kind is not None
    env = RewardNormaliser(inner, norm_reward=not own_rewards, gamma=training.gamma)
    if training.teacher_critic:
        keep_reward_scale(env, setting.teacher.description)
    shared: dict[str, Any] = {
        "policy": StudentPolicy,
        "env": env,
        # PPO has no labels; it only uses the teacher's normaliser and family of distributions.
        "teacher": setting.teacher if method.has_teacher else None,
        "policy_kwargs": {**_policy_arguments(setting), "optimizer_kwargs": {**FUSED_ADAM}},
        "augmentation": flags.augmentation(),
        "seed": seeds.model(training.run_index),
        "device": setting.device,
    }
    try:
        config = flags.on_policy()
        if config.batch_size is not None:
            config = dataclasses.replace(
                config, batch_size=len(share_of(config.batch_size, "--batch_size"))
            )
        schedule = flags.lambda_schedule()
        schedules: dict[str, Any] = {"learning_rate": _learning_rate(flags, config)}
        if schedule.kind != "constant":  # only with PPD, which the flags check
            schedules["distill_lambda"] = schedule
        model = method.load_algorithm()(**shared, config=config, **schedules)
        assert isinstance(model.policy, StudentPolicy)
        setting.give_weights(model.policy)
    except BaseException:
        env.close()
        raise
    env.seed(id_seed)  # SB3 has seeded it with the model's seed
    # Keep the env steps between logging points about constant for all rollout lengths.
    interval = max(1, _LOG_EVERY // flags.rollout)

    def learn(callback: BaseCallback) -> None:
        model.learn(flags.total_timesteps, callback, log_interval=interval)

    take_skill = schedule.take_skill if schedule.kind == "skill" else None
    return ReadyMethod(model, learn, id_seed, env, take_skill)


def _learning_rate(flags: Flags, config: OnPolicyConfig) -> Schedule:
    """Return the learning rate as a function of the remaining progress (1 to 0)."""
    first = config.learning_rate
    assert isinstance(first, float)  # flags are numbers
    return LinearSchedule(first, flags.final_learning_rate(first), end_fraction=1.0)


def _make_cloning(setting: Setting, run_folder: Path) -> ReadyMethod:
    flags = setting.flags
    dataset = find_dataset(setting.task, flags, setting.teacher, run_folder)
    policy = _fresh_student(setting)
    model = BehaviouralCloning(
        policy,
        _samples(dataset, policy, blind=flags.student.blind),
        flags.clone(),
        flags.replay(),
        seeds.model(flags.training.run_index),
        flags.augmentation(),
    )
    return ReadyMethod(
        *(model, lambda callback: model.learn(callback, run_folder / CHECKPOINTS)),
        *(seeds.DATASET.start, None),
    )


def _samples(dataset: TeacherDataset, policy: StudentPolicy, *, blind: bool) -> TeacherSamples:
    """Return the samples of a dataset. One of recordings gets labels of the student's family."""
    recorded = None
    if not dataset.manifest.recipe.teacher.get("family"):
        recorded = RecordedLabels(policy.config.family, policy.action_space)
    return TeacherSamples(dataset, blind=blind, recorded=recorded)


def _make_dagger(setting: Setting, run_folder: Path) -> ReadyMethod:
    flags, task = setting.flags, setting.task
    seed = seeds.model(flags.training.run_index)
    first_seed = seeds.training(flags.training.run_index).start
    policy, dataset, split_seed = None, None, None
    if flags.cloning.folder_Dagger is not None:
        run = read_cloned_run(flags.cloning.folder_Dagger, task.name)
        run.check_teacher(setting.teacher.description)
        policy = load_student(run.folder / STUDENT, setting.device)
        set_random_seed(seed)  # as a new student does, because rounds draw random numbers
        split_seed = seeds.model(run.config["training"]["run_index"])
    if flags.cloning.dataset != "none":
        dataset = find_dataset(task, flags, setting.teacher, run_folder)
    n_envs = flags.training.num_envs
    env = _make_training_env(setting, n_envs, first_seed, stagger=False, tensors=False)
    try:
        student = policy or _fresh_student(setting)
        model = DAgger(
            student,
            env,
            setting.teacher,
            None if dataset is None else _samples(dataset, student, blind=flags.student.blind),
            flags.clone(),
            # The student acts as in evaluations.
            dataclasses.replace(flags.dagger(), deterministic=task.judged_by_mode),
            flags.replay(),
            seed=seed,
            first_seed=first_seed,
            cloned=policy is not None,
            split_seed=split_seed,
            augmentation=flags.augmentation(),
        )
    except BaseException:
        env.close()
        raise
    return ReadyMethod(
        *(model, lambda callback: model.learn(callback, run_folder / CHECKPOINTS)),
        *(first_seed, env),
    )


def _fresh_student(setting: Setting) -> StudentPolicy:
    # Seed all generators, because checkpoints store them.
    set_random_seed(seeds.model(setting.flags.training.run_index))
    policy = _new_student(setting)
    setting.give_weights(policy)
    return policy.to(setting.device)


def _new_student(setting: Setting) -> StudentPolicy:
    env = setting.eval_env
    return StudentPolicy(
        env.observation_space, env.action_space, lambda _: 0.0, **_policy_arguments(setting)
    )


def check_encoder(setting: Setting) -> None:
    """Check that a user's own encoder fits the frames and its backbone, before any data.

    Print which weights of the backbone's file are not used.

    Raises:
        UserError: it does not fit.
    """
    if setting.flags.student.own_encoder is None:
        return
    with torch.random.fork_rng(devices=[]):
        student = _new_student(setting)
    if setting.backbone is not None:
        unused = setting.backbone.give_weights(student.encoder, student.config.mode)
        shown = f"; unused: {', '.join(unused)}" if unused else ""
        distributed.print_line(
            f"backbone {setting.backbone.path}, SHA-256 {setting.backbone.sha256}{shown}"
        )


def _policy_arguments(setting: Setting) -> dict[str, Any]:
    space, joints = setting.eval_env.observation_space, setting.task.proprio_indices
    assert isinstance(space, spaces.Dict)  # `make_student_env` creates no other
    config = student_config(setting)
    if setting.flags.training.teacher_critic:
        config = with_critic_of(setting.teacher.description, config)
    arguments: dict[str, Any] = {"config": config}
    if STATE in space.spaces:  # not in games
        mean, std = (statistic.cpu().numpy() for statistic in setting.teacher.normaliser())
        for name, statistic in (("group_mean", mean), ("group_std", std)):
            arguments[name] = {STATE: statistic.tolist(), PROPRIO: statistic[joints].tolist()}
    return arguments


def student_config(setting: Setting) -> StudentConfig:
    """Return the network: that of --init_from or of --size, otherwise that of the flags."""
    student, family = setting.flags.student, setting.teacher.description.family
    if setting.initial is not None:
        return setting.initial.config(critic_on_state=student.critic_on_state)
    precision = fastest_precision(setting.device)
    if student.size:
        paper = paper_student(setting.task.suite, student.size, family)
        return dataclasses.replace(
            paper,
            critic_on_state=student.critic_on_state,
            precision=precision,
            camera_channels=_camera_channels(setting),
        )
    return StudentConfig(
        mode=student.mode,
        family=family,
        pooling=student.pooling,
        keypoints=student.keypoints,
        backbone_sha256=student.backbone_sha256 or "",
        proprio_features=StudentConfig.proprio_features if setting.task.proprio else 0,
        init_log_std=student.init_log_std,
        critic_on_state=student.critic_on_state,
        precision=precision,
        camera_channels=_camera_channels(setting),
        recurrent=student.recurrent,
        recurrent_units=student.recurrent_units,
    )


def _camera_channels(setting: Setting) -> tuple[int, ...]:
    """Return the channels of each camera if each has an encoder of its own."""
    frames, student = setting.task.camera_set, setting.flags.student
    is_separate = student.camera_encoders == "separate" and student.mode != "State"
    return (frames.camera_channels,) * len(frames.cameras) if is_separate else ()
