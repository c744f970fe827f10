"""Which device, and what goes to it; the GPU's part is in `test_cuda.py`."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from Algorithm.on_policy.ppd import PPD
from Common.device import upload
from Enviroment.make import make_env
from Enviroment.tasks import TASKS
from Models.student import policy as student
from Models.student.policy import StudentPolicy
from tests.support.tiny_teacher import tiny_teacher

CPU = torch.device("cpu")


def test_on_the_processor_a_tensor_is_the_array_itself() -> None:
    array = np.zeros((2, 3), np.uint8)
    tensors = upload({"frame": array}, CPU)
    array[1, 2] = 7
    assert list(tensors) == ["frame"]
    assert tensors["frame"].dtype == torch.uint8 and tensors["frame"][1, 2] == 7


def test_a_student_computes_in_what_is_fastest_on_its_own_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not on the card that the machine has, where the training does not use it."""
    precisions = {"cuda": "bfloat16", "cpu": "float32"}
    monkeypatch.setattr(student, "fastest_precision", lambda device: precisions[device.type])
    monkeypatch.setattr(student, "get_device", lambda _: torch.device("cuda"))
    task = dataclasses.replace(TASKS["Pusher"], frame_size=(16, 16))
    env = make_env(task, 1, 0, workers="serial", blind=True)
    try:
        model = PPD("StudentPolicy", env, tiny_teacher(), n_steps=2, batch_size=2, device="cpu")
    finally:
        env.close()
    assert isinstance(model.policy, StudentPolicy)
    assert model.policy.config.precision == "float32"
    assert model.policy.encoder.precision == "float32"
