"""Clone recorded data from Python, without a teacher and without an environment."""

from __future__ import annotations

from pathlib import Path

import torch
from stable_baselines3.common.utils import set_random_seed
from torch import nn

from Algorithm.augmentation_config import AugmentationConfig
from Algorithm.cloning.bc import BehaviouralCloning
from Algorithm.cloning.config import CloningConfig
from Algorithm.cloning.samples.array_samples import ArraySamples
from Algorithm.sequences import SEQUENCE_LENGTH, SEQUENCES
from Common.device import resolve_device
from Common.errors import UserError
from Enviroment.custom import describe_custom
from Evaluation.evaluate.progress_bar import ProgressBar
from Models.networks.own import given_encoder
from Models.student.bundle import save_student
from Models.student.config import StudentConfig
from Models.student.policy import StudentPolicy
from vision_distillation.student import Student


def clone(
    samples: ArraySamples,
    output: Path | str,
    *,
    mode: str = StudentConfig.mode,
    pooling: int = StudentConfig.pooling,
    encoder: str | type[nn.Module] | None = None,
    recurrent: str = StudentConfig.recurrent,
    config: CloningConfig | None = None,
    augmentation: AugmentationConfig | None = None,
    seed: int = 0,
    device: str = "auto",
    overwrite: bool = False,
) -> Student:
    """Train a student on recorded steps by behavioural cloning, and return it.

    Usage::

        student = clone(ArraySamples(frames, joints, actions, ends), "my_student")

    Args:
        samples: the recordings.
        output: folder of the student's bundle.
        mode: encoder of the frames: ImpaalaSmall, ImpaalaMid or ImpaalaBig.
        pooling: side of the encoder's grid; larger grids keep places better.
        encoder: an encoder of your own instead: a class, or `package:Class`, which is imported.
        recurrent: `gru` for a student with a memory of the episode.
        config: settings of learning, `CloningConfig(gradient_steps=...)`; minibatches of a
            recurrent student consist of sequences of `sequence_length` steps.
        augmentation: `AugmentationConfig(random_shift=...)`, in pixels; none by default.
        seed: seed of the network, the held-out episodes and the batches.
        device: `auto` (a GPU if there is one), `cpu`, `cuda` or `cuda:N`.
        overwrite: replace a bundle in the folder.

    Raises:
        UserError: settings and recordings do not fit, or the folder holds a student already.
    """
    folder = Path(output)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"`output` {folder} is a file. Name a folder.")
    if (folder / "student.json").exists() and not overwrite:
        raise UserError(f"`output` {folder} holds a student: give `overwrite`, or another folder.")
    if encoder is not None:
        mode = given_encoder(encoder)
    network = StudentConfig(
        mode=mode,
        family=samples.family,
        pooling=pooling,
        proprio_features=StudentConfig.proprio_features if samples.statistics()[0] else 0,
        recurrent=recurrent,
    )
    if config is None and network.is_recurrent:
        config = CloningConfig(batch_size=SEQUENCES * SEQUENCE_LENGTH)
    model = BehaviouralCloning(
        _new_student(samples, network, seed, resolve_device(device)),
        samples,
        config,
        seed=seed,
        augmentation=augmentation,
    )
    model.learn(ProgressBar())
    task = samples.task
    notes = {
        "task": task.name,
        **describe_custom(task),
        "frame_interval": task.frame_interval,
        "method": "BC_phase",
        "threads": torch.get_num_threads(),
        "training": {
            **model.counters,
            **{f"validation_{name}": value for name, value in model.validate().items()},
        },
    }
    save_student(model.policy, folder, notes)
    return Student.load(folder)


def _new_student(
    samples: ArraySamples, config: StudentConfig, seed: int, device: torch.device
) -> StudentPolicy:
    set_random_seed(seed)
    mean, std = samples.statistics()
    return StudentPolicy(
        samples.observation_space,
        samples.action_space,
        lambda _: 0.0,
        config=config,
        group_mean=mean,
        group_std=std,
    ).to(device)
