"""Every kind of file that is read, with a payload in it: how it is forged, and what reads it.

Whoever can put a payload into a file can also make the hashes beside it match, so they do.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from Algorithm.cloning.learner_file import LEARNER, read_learner, write_learner
from Common.runs.checkpoint import Checkpoint, CheckpointStore
from Common.runs.files import CONFIG_FILE, METRICS_FILE, read_metrics
from Distillation.flags.parse import parse
from Distillation.resume import find_checkpoint
from Enviroment.dataset.minari_exchange import export_minari, import_minari
from Enviroment.dataset.reader import TeacherDataset
from Enviroment.dataset.verify import check_content
from Enviroment.make import make_state_env
from Enviroment.tasks import get_task
from Models.bundle import Kind, read_bundle, write_bundle
from Models.sb3.vecnormalize import read_vecnormalize
from Models.sb3.zip_file import read_sb3_zip
from tests.support.tiny_dataset import TASK, collect_tiny
from Train_Teacher.agent import make_agent, normalise
from Train_Teacher.checkpoint import (
    Progress,
    find_best,
    find_newest,
    restore,
    save_best,
    save_checkpoint,
)
from Train_Teacher.settings.config import SACTeacherConfig

Read = Callable[[], object]
Forge = Callable[[Path, "Payload"], Read]  # in a folder; returns what must refuse the file

PROGRESS = Progress(steps=1, updates=1, episodes=1, evaluation={})


class Payload:
    """Creates a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple:
        return os.mkdir, (self.path,)


def npy(payload: Payload) -> bytes:
    """What `np.save` makes of it: an array of objects."""
    buffer = io.BytesIO()
    np.save(buffer, np.array([payload], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def torch_file(payload: Payload, *, zipped: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save({"w": payload}, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def replace_member(path: Path, name: str, content: bytes) -> None:
    """Puts another member into a zip."""
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    assert name in members
    with zipfile.ZipFile(path, "w") as archive:
        for member, old in members.items():
            archive.writestr(member, content if member == name else old)


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def describe(path: Path, listing: str) -> None:
    """Makes the file that lists sizes and hashes beside it match."""
    content = path.read_bytes()
    files = json.loads((path.parent / listing).read_text())["files"]
    described = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    edit_json(path.parent / listing, files={**files, path.name: described})


# -- what runs and learners store ----------------------------------------------------------------


def checkpoint(name: str) -> Forge:
    def forge(folder: Path, payload: Payload) -> Read:
        tensors = {"model": {"w": torch.zeros(2)}}
        path = CheckpointStore(folder).save(1, tensors, {"a": 1}) / name
        path.write_bytes(pickle.dumps(payload))
        if name != "manifest.json":
            describe(path, "manifest.json")
        return lambda: Checkpoint.open(path.parent).tensors("model")

    return forge


def learner(folder: Path, payload: Payload) -> Read:
    write_learner(folder, {"w": torch.zeros(2)})
    (path,) = (folder / LEARNER).glob("step_*/learner.safetensors")
    path.write_bytes(pickle.dumps(payload))
    describe(path, "manifest.json")
    return lambda: read_learner(folder)


def bundle(kind: Kind, suffix: str) -> Forge:
    def forge(folder: Path, payload: Payload) -> Read:
        path = write_bundle(folder / "b", kind, {"w": torch.zeros(2)}, {}) / f"{kind}.{suffix}"
        path.write_bytes(torch_file(payload) if suffix == "safetensors" else pickle.dumps(payload))
        if suffix == "safetensors":
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            edit_json(path.with_suffix(".json"), sha256=sha256)
        return lambda: read_bundle(path.parent, kind)

    return forge


def record(folder: Path, payload: Payload) -> Read:
    (folder / METRICS_FILE).write_bytes(pickle.dumps(payload, protocol=0) + b"\n")
    return lambda: read_metrics(folder)


def run_configuration(folder: Path, payload: Payload) -> Read:
    (folder / CONFIG_FILE).write_bytes(pickle.dumps(payload))
    return lambda: find_checkpoint(folder, CheckpointStore(folder), {}, "", {})


def flags_file(tag: str) -> Forge:
    def forge(folder: Path, payload: Payload) -> Read:
        path = folder / "config.yaml"
        path.write_text("lambda: " + tag.format(payload.path) + "\n")
        return lambda: parse(get_task("Pusher"), ["--PPD", "--config", str(path)])

    return forge


# -- datasets ------------------------------------------------------------------------------------


def dataset(name: str, read: Callable[[Path], object]) -> Forge:
    def forge(folder: Path, payload: Payload) -> Read:
        path = collect_tiny(folder / "data", 20) / name
        path.write_bytes(npy(payload).ljust(path.stat().st_size, b"\0"))
        return lambda: read(path.parent)

    return forge


def minari(name: str) -> Forge:
    def forge(folder: Path, payload: Payload) -> Read:
        pytest.importorskip("minari", reason="Minari is optional")
        pytest.importorskip("h5py", reason="Minari is optional")
        source = TeacherDataset.open(collect_tiny(folder / "data", 20))
        path = export_minari(source, "Reacher/teacher-v0", folder / "minari") / name
        assert path.is_file()
        path.write_bytes(pickle.dumps(payload))
        return lambda: import_minari(str(path.parent), TASK, folder / "again")

    return forge


# -- Stable-Baselines3's files, and a teacher's training -----------------------------------------


def trained(folder: Path) -> Any:
    """A SAC agent, its zip and VecNormalize's file in a folder, and its checkpoints."""
    settings = SACTeacherConfig(num_envs=1, learning_starts=10, batch_size=8, buffer_size=100)
    env = normalise(make_state_env("Pusher", 1, 0), settings)
    agent = make_agent(settings, env, torch.device("cpu"), 1).learn(20)
    agent.save(folder / "model.zip")
    env.save(str(folder / "vecnormalize.pkl"))
    save_checkpoint(folder / "checkpoints", agent, PROGRESS)
    save_best(folder / "checkpoints", "Pusher", agent, 0.0)
    env.close()
    return agent


def training(name: str, content: Callable[[Payload], bytes]) -> Forge:
    def forge(folder: Path, payload: Payload) -> Read:
        agent, checkpoints = trained(folder), folder / "checkpoints"
        (path,) = checkpoints.glob(name)
        path.write_bytes(content(payload))
        describe(path, "manifest.json")

        def go_on() -> None:
            find_best(checkpoints)
            found = find_newest(checkpoints)
            assert found is not None
            restore(found[0], agent, PROGRESS)

        return go_on

    return forge


def agent_zip(member: str, *, zipped: bool = True) -> Forge:
    def forge(folder: Path, payload: Payload) -> Read:
        trained(folder)
        replace_member(folder / "model.zip", member, torch_file(payload, zipped=zipped))
        return lambda: read_sb3_zip(folder / "model.zip", folder / "vecnormalize.pkl")

    return forge


def normaliser(folder: Path, payload: Payload) -> Read:
    (folder / "vecnormalize.pkl").write_bytes(pickle.dumps(payload))
    return lambda: read_vecnormalize(folder / "vecnormalize.pkl", 23)


FILES: dict[str, Forge] = {
    "checkpoint, manifest": checkpoint("manifest.json"),
    "checkpoint, values": checkpoint("state.json"),
    "checkpoint, tensors": checkpoint("model.safetensors"),
    "learner": learner,
    "student bundle, weights": bundle("student", "safetensors"),
    "student bundle, description": bundle("student", "json"),
    "teacher bundle, weights": bundle("teacher", "safetensors"),
    "teacher bundle, description": bundle("teacher", "json"),
    "run, metrics": record,
    "run, configuration": run_configuration,
    "flags, call": flags_file("!!python/object/apply:os.mkdir [{}]"),
    "flags, name": flags_file("!!python/name:os.mkdir"),
    "dataset, manifest": dataset("manifest.json", TeacherDataset.open),
    "dataset, shard": dataset("shard_00000.safetensors", TeacherDataset.open),
    "dataset, every byte": dataset("shard_00000.safetensors", check_content),
    "Minari, arrays": minari("main_data.hdf5"),
    "Minari, description": minari("metadata.json"),
    "agent's zip, weights": agent_zip("policy.pth"),
    "agent's zip, weights of torch before 1.6": agent_zip("policy.pth", zipped=False),
    "VecNormalize": normaliser,
    "teacher's checkpoint, agent": training("step_*/agent.safetensors", torch_file),
    "teacher's checkpoint, replay": training("step_*/replay.safetensors", npy),
    "teacher's checkpoint, values": training("step_*/state.json", pickle.dumps),
    "teacher's checkpoint, best": training("best/step_*/teacher.safetensors", torch_file),
}
