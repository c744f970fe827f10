"""Imperfect teachers: noise on every parameter."""

from __future__ import annotations

import dataclasses
import math

import torch

from Common.errors import UserError
from Models.bundle import weights_sha256
from Models.teacher.policy import Teacher


def corrupt(teacher: Teacher, sigma: float, seed: int) -> Teacher:
    """Return an imperfect teacher: add N(0, sigma^2) to every parameter of actor and critics.

    The normaliser is unchanged. The description records the noise, and keeps the baselines of the
    original teacher under "uncorrupted".

    Args:
        sigma: 0.05 in Spigler, 2025 (arXiv 2407.15134).

    Raises:
        UserError: sigma is not a number above 0, or the teacher is corrupted already.
    """
    d = teacher.description
    if not 0 < sigma < math.inf:
        raise UserError(f"The noise on a teacher's parameters, {sigma}, must be above 0.")
    if d.corruption_sigma:
        raise UserError(f"This teacher is corrupted already, by {d.corruption_sigma}.")
    generator = torch.Generator().manual_seed(seed)
    tensors = teacher.state_dict()
    for name, parameter in teacher.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        tensors[name] = parameter + sigma * noise.to(parameter.device)
    baselines, successes = (
        {"uncorrupted" if policy == "teacher" else policy: v for policy, v in known.items()}
        for known in (d.baselines, d.successes)
    )
    description = dataclasses.replace(
        d,
        sha256=weights_sha256(tensors),
        corruption_sigma=sigma,
        corruption_seed=seed,
        baselines=baselines,
        successes=successes,
        imitability=None,
    )
    return teacher.described_as(description, tensors)
