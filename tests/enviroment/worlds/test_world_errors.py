"""Bad input of `--simulator warp`: one message each."""

import dataclasses
import sys
from types import SimpleNamespace

import pytest
import torch

from Common.errors import UserError
from Enviroment.cameras import ModelCamera
from Enviroment.tasks import get_task
from Enviroment.worlds import library, memory
from Enviroment.worlds.make import make_worlds

pytest.importorskip("mujoco_warp")

from Enviroment.worlds.simulation import _memory_errors

CUDA = torch.device("cuda:0")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"env_id": "Ant-v5"}, "no version of Ant-v5. It simulates Pusher-v5, Reacher-v5, Hopper"),
        ({"env_kwargs": {"frame_skip": 3}}, r"without arguments \(`env_kwargs`\)"),
        ({"wrappers": ("my:Wrapper",)}, "without wrappers"),
        ({"camera": ModelCamera("nose")}, "`camera` 'nose': the model has no such camera. Its"),
        ({"camera": None}, "draws cameras of MuJoCo only"),
    ],
)
def test_tasks_that_warp_cannot_run(change, message):
    task = dataclasses.replace(get_task("Pusher"), **change)
    with pytest.raises(UserError, match=message):
        make_worlds(task, 4, 0)


def test_a_camera_that_follows_a_body():
    with pytest.raises(UserError, match=r"camera follows torso, and .*`mode` State"):
        make_worlds("Hopper", 4, 0)


@pytest.mark.parametrize(("n_envs", "seed", "message"), [(0, 0, "`n_envs` 0"), (4, -1, "Seed -1")])
def test_numbers_out_of_range(n_envs, seed, message):
    with pytest.raises(UserError, match=message):
        make_worlds("Pusher", n_envs, seed)


@pytest.mark.parametrize("name", ["warp", "mujoco_warp"])
def test_packages_that_are_missing(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=r"needs mujoco-warp and .*pip install -e '\.\[gpu\]'"):
        library.load_warp()


def test_a_driver_that_is_too_old(monkeypatch):
    old = SimpleNamespace(
        is_cuda_available=lambda: False,
        get_cuda_driver_version=lambda: (12, 2),
        get_cuda_toolkit_version=lambda: (13, 4),
        __version__="1.19.0",
    )
    monkeypatch.setattr(library, "load_warp", lambda: (old, None))
    with pytest.raises(UserError, match=r"for CUDA 13\.4, and the driver supports 12\.2\. Update"):
        library.check_device(CUDA)
    library.check_device(torch.device("cpu"))  # needs none


def test_memory_that_is_too_small(monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda device: 10 * 2**20)
    with pytest.raises(UserError, match="`n_envs` 5,000: worlds of Pusher") as refused:
        make_worlds("Pusher", 5_000, 0, rollout=64)
    fits = int(str(refused.value).split(" would fit")[0].split()[-1].replace(",", ""))
    make_worlds("Pusher", fits, 0, rollout=64).close()
    with pytest.raises(UserError, match="would fit"):
        make_worlds("Pusher", fits + 1, 0, rollout=64)


def test_memory_that_runs_out_later():
    too_little = pytest.raises(UserError, match="`n_envs` 9: the device has too little memory")
    with too_little, _memory_errors(9):
        raise RuntimeError("Failed to allocate 123 bytes on device 'cuda:0'")
    with pytest.raises(RuntimeError, match="other"), _memory_errors(9):
        raise RuntimeError("other")
