"""Every format that is read: a whole file of it, how it is mutated, and what reads it."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import gymnasium as gym
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from Common.errors import UserError
from Common.runs.checkpoint import Checkpoint, CheckpointStore
from Common.runs.files import read_metrics
from Common.runs.packing import unpack
from Common.runs.run_folder import holds_run
from Distillation.flags.parse import parse
from Distillation.resume import find_checkpoint
from Distillation.starting.cloned_run import read_cloned_run
from Distillation.starting.initial_student import read_initial_student
from Distillation.sweeps.checks import check_grid
from Distillation.sweeps.grid import read_grid
from Enviroment.dataset.reader import TeacherDataset
from Enviroment.tasks import get_task
from Evaluation.evaluate.subject import find_teacher, open_subject
from Evaluation.report.entries import find_entries
from Evaluation.report.rows import make_rows
from Evaluation.runs import find_runs
from Models.sb3.torch_file import RefusedTensorsError, read_tensors
from Models.sb3.vecnormalize import read_vecnormalize
from Models.sb3.zip_file import read_sb3_zip
from Models.teacher.conversion import describe
from Models.teacher.policy import Teacher
from tests.support.bundle_edits import change_description
from tests.support.faults.mutants import byte_mutants, json_mutants
from tests.support.faults.payloads import trained
from tests.support.short_run import write_teacher
from tests.support.tiny_dataset import collect_tiny
from Train_Teacher.checkpoint import find_best, find_newest, restore


@dataclass(frozen=True)
class Format:
    """One file, and what reads it."""

    mutants: Callable[[int, int], Iterator[object]]  # of a seed, so many
    put: Callable[[object], object]  # writes a mutant, and makes the hashes beside it match
    read: Callable[[], object]


def _json(path: Path, read: Callable[[], object], seal: Callable[[], object] = bool) -> Format:
    whole = json.loads(path.read_text())

    def put(text: object) -> None:
        path.write_text(str(text))
        seal()

    return Format(lambda seed, count: json_mutants(whole, seed, count), put, read)


def _bytes(
    content: bytes, words: tuple[bytes, ...], put: Callable[[bytes], object], read: Callable
) -> Format:
    return Format(
        lambda seed, count: byte_mutants(content, seed, count, words),
        lambda mutant: put(mutant),  # pyright: ignore[reportArgumentType]
        read,
    )


# -- bundles -------------------------------------------------------------------------------------


def student(folder: Path, run: Path) -> Format:
    bundle = Path(shutil.copytree(run / "student", folder / "student"))
    path = _unsealed(bundle / "student.json")

    def read() -> None:
        subject = open_subject(bundle)
        assert subject.threads > 0
        _ = subject.blind, subject.id_seed, subject.task.proprio_indices
        find_teacher(subject, None)
        read_initial_student(bundle)

    return _json(path, read)


def teacher(folder: Path, run: Path) -> Format:
    path = write_teacher(folder / "teacher") / "teacher.json"
    return _json(_unsealed(path), lambda: describe(Teacher.load(path.parent)))


def _unsealed(path: Path) -> Path:
    change_description(path, lambda description: None)
    return path


def safetensors_header(folder: Path, run: Path) -> Format:
    bundle = Path(shutil.copytree(run / "student", folder / "student"))
    weights = bundle / "student.safetensors"
    content = weights.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header, body = json.loads(content[8 : 8 + size]), content[8 + size :]

    def put(text: object) -> None:
        written = str(text).encode(errors="surrogatepass")
        weights.write_bytes(struct.pack("<Q", len(written)) + written + body)
        sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
        change_description(bundle / "student.json", lambda d: d.update(sha256=sha256))

    return Format(
        lambda seed, count: json_mutants(header, seed, count), put, lambda: open_subject(bundle)
    )


# -- runs ----------------------------------------------------------------------------------------


def run_configuration(folder: Path, run: Path) -> Format:
    copied = Path(shutil.copytree(run, folder / "run", ignore=shutil.ignore_patterns("*.npz")))

    def read() -> None:
        holds_run(copied)
        for runs in (lambda: find_runs([copied]), lambda: [open_subject(copied).run]):
            for found in runs():
                assert found is not None
                _ = found.task, found.method, found.mode, found.run_index
        find_teacher(open_subject(copied), None)
        make_rows(find_entries([copied]))

    return _json(copied / "config.json", read)


def configuration_of_a_resumed_run(folder: Path, run: Path) -> Format:
    copied = folder / "run"
    copied.mkdir()
    shutil.copy(run / "config.json", copied)
    config = json.loads((run / "config.json").read_text())["config"]
    store = CheckpointStore(copied / "checkpoints")
    return _json(
        copied / "config.json", lambda: find_checkpoint(copied, store, config, "", {"identity": ""})
    )


def configuration_of_a_cloned_run(folder: Path, run: Path) -> Format:
    copied = folder / "run"
    copied.mkdir()
    described = json.loads((run / "config.json").read_text())
    described["config"]["method"] = "BC_phase"
    (copied / "config.json").write_text(json.dumps(described))
    given = parse(get_task("Pusher"), ["--Dagger_phase", "--dataset", "none"])

    def read() -> None:
        cloned = read_cloned_run(copied, "Pusher")
        cloned.check_inherited_flags({"dataset": "5k", "mode": "State"}, ())
        cloned.flags(given)

    return _json(copied / "config.json", read)


def metrics(folder: Path, run: Path) -> Format:
    path = folder / "metrics.jsonl"
    first = json.loads((run / "metrics.jsonl").read_text().splitlines()[0])

    def put(text: object) -> None:
        path.write_text(f"{text}\n")

    return Format(
        lambda seed, count: json_mutants(first, seed, count), put, lambda: read_metrics(folder)
    )


def checkpoint_manifest(folder: Path, run: Path) -> Format:
    path = _checkpoint(folder, run)
    return _json(path / "manifest.json", lambda: Checkpoint.open(path))


def _values(path: Path, read: Callable[[], object]) -> Format:
    """The plain values of the checkpoint in a folder."""

    def seal() -> None:
        content = (path / "state.json").read_bytes()
        manifest = json.loads((path / "manifest.json").read_text())
        sha256 = hashlib.sha256(content).hexdigest()
        manifest["files"]["state.json"] = {"bytes": len(content), "sha256": sha256}
        (path / "manifest.json").write_text(json.dumps(manifest))

    return _json(path / "state.json", read, seal)


def checkpoint_state(folder: Path, run: Path) -> Format:
    path = _checkpoint(folder, run)

    def read() -> None:
        found = Checkpoint.open(path)
        for part in found.parts:
            unpack(found.tensors(part), found.values.get(part))

    return _values(path, read)


def _checkpoint(folder: Path, run: Path) -> Path:
    newest = max((run / "checkpoints").glob("step_*"))
    return Path(shutil.copytree(newest, folder / newest.name))


def teachers_checkpoint(folder: Path, run: Path) -> Format:
    agent = trained(folder)
    (path,) = (folder / "checkpoints").glob("step_*")

    def read() -> None:
        found = find_newest(path.parent)
        assert found is not None and found[1].steps >= 0
        restore(found[0], agent, found[1])
        agent.predict(agent.observation_space.sample())
        agent.replay_buffer.sample(8)

    return _values(path, read)


def best_teacher(folder: Path, run: Path) -> Format:
    trained(folder)
    (path,) = (folder / "checkpoints" / "best").glob("step_*")

    def read() -> None:
        best = find_best(folder / "checkpoints")
        if best is None:
            raise UserError("damaged, as its store has printed")
        Teacher(best.description, best.tensors)

    return _values(path, read)


# -- datasets and what people write --------------------------------------------------------------


def dataset_manifest(folder: Path, run: Path) -> Format:
    path = collect_tiny(folder / "data", 20)

    def read() -> None:
        dataset = TeacherDataset.open(path)
        dataset.read([0, len(dataset) - 1])

    return _json(path / "manifest.json", read)


_YAML_WORDS = tuple(
    b"&a |*a |? |: |- |[|]|{|}|!!python/object:os.x |!!binary |2024-13-45|0x|1e999|.nan|.inf|<<: *a"
    b"|\n|  |~|0b_|1:2:3|=|%YAML 3|---|'|\"|\t|\xff|seeds: |- - - - - - |999999999".split(b"|")
)


def flags_file(folder: Path, run: Path) -> Format:
    path = folder / "flags.yaml"
    text = b"PPD: true\nmode: ImpaalaSmall\nnum_envs: 8\nhead: [8, 8]\nlearning_rate: 3e-4\n"
    flags = ["--config", str(path)]
    return _bytes(text, _YAML_WORDS, path.write_bytes, lambda: parse(get_task("Pusher"), flags))


def flags_json(folder: Path, run: Path) -> Format:
    path = folder / "flags.json"
    path.write_text(json.dumps({"PPD": True, "mode": "State", "num_envs": 8, "gamma": 0.9}))
    return _json(path, lambda: parse(get_task("Pusher"), ["--config", str(path)]))


def grid(folder: Path, run: Path) -> Format:
    path = folder / "grid.yaml"
    text = (
        b"tasks: [Pusher]\nmethods: [PPD, PPO]\nlambda: [0.5, 5]\nmodes: State\nseeds: [0, 1]\n"
        b"teachers: {a: Results/{task}/teachers/sac}\nflags: {num_envs: 8}\naxes: {gamma: [0.9]}\n"
        b"threads: 1\nresources: {cpus: 1}\ngrids:\n- {name: x}\n- {name: y, seeds: 3}\n"
    )
    read = lambda: check_grid(read_grid(path, {}, folder / "out"))  # noqa: E731
    return _bytes(text, _YAML_WORDS, path.write_bytes, read)


# -- Stable-Baselines3's files -------------------------------------------------------------------


def _pendulum() -> gym.Env:
    return gym.make("Pendulum-v1")


_PICKLE_WORDS = (b"\x85", b"(", b"t", b"0", b"2", b"R", b"b", b"s", b"u", b"e", b".", b"}", b"]")
_PICKLE_WORDS += (b"q\x00", b"h\x00", b"r\xff\xff\xff\x7f", b"\x8b\xff\xff\xff\x00", b"\x95")
_PICKLE_WORDS += (
    b"\x85" * 3000,
    b"(" * 3000,
    b"I" + b"9" * 5000 + b"\n",
    b"\x94",
    b"\x93",
    b"Q",
    b"cos\nsystem\n",
)


def vecnormalize(folder: Path, run: Path) -> Format:
    path = folder / "vecnormalize.pkl"
    VecNormalize(DummyVecEnv([_pendulum])).save(str(path))
    return _bytes(
        path.read_bytes(), _PICKLE_WORDS, path.write_bytes, lambda: read_vecnormalize(path, 3)
    )


def inert_pickle(folder: Path, run: Path) -> Format:
    """The index of a file of tensors, in a zip that is whole."""
    weights = io.BytesIO()
    torch.save({"a.weight": torch.ones(2, 3), "b": torch.arange(4)}, weights)
    with zipfile.ZipFile(weights) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    (index,) = (name for name in members if name.endswith("/data.pkl"))
    written = io.BytesIO()

    def put(mutant: bytes) -> None:
        written.seek(0)
        written.truncate()
        with zipfile.ZipFile(written, "w") as archive:
            for name, content in {**members, index: mutant}.items():
                archive.writestr(name, content)

    return _bytes(members[index], _PICKLE_WORDS, put, lambda: _tensors(written.getvalue()))


def tensors(folder: Path, run: Path) -> Format:
    file, mutant = io.BytesIO(), [b""]
    torch.save({"a.weight": torch.ones(2, 3), "b": torch.arange(4)}, file)
    words = (b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"\xff\xff\xff\xff", b"\0" * 8)

    def put(content: bytes) -> None:
        mutant[0] = content

    return _bytes(file.getvalue(), words, put, lambda: _tensors(mutant[0]))


def _tensors(content: bytes) -> None:
    try:
        read_tensors(content)
    except RefusedTensorsError as error:  # as who reads an agent's zip says it
        raise UserError(str(error)) from error


def agents_settings(folder: Path, run: Path) -> Format:
    """`data` of a zip, beside weights that are whole."""
    path = folder / "agent.zip"
    PPO("MlpPolicy", DummyVecEnv([_pendulum]), n_steps=8, device="cpu").save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    settings = json.loads(members["data"])
    for value in settings.values():
        if isinstance(value, dict):
            value.pop(":serialized:", None)  # never read

    def put(text: object) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in {**members, "data": str(text).encode()}.items():
                archive.writestr(name, content)

    return Format(
        lambda seed, count: json_mutants(settings, seed, count),
        put,
        lambda: read_sb3_zip(path, None),
    )


FORMATS: dict[str, Callable[[Path, Path], Format]] = {
    "student.json": student,
    "teacher.json": teacher,
    "safetensors header": safetensors_header,
    "config.json": run_configuration,
    "config.json, resumed": configuration_of_a_resumed_run,
    "config.json, cloned": configuration_of_a_cloned_run,
    "metrics.jsonl": metrics,
    "checkpoint, manifest.json": checkpoint_manifest,
    "checkpoint, state.json": checkpoint_state,
    "teacher's checkpoint": teachers_checkpoint,
    "best teacher": best_teacher,
    "dataset, manifest.json": dataset_manifest,
    "flags, YAML": flags_file,
    "flags, JSON": flags_json,
    "grid": grid,
    "VecNormalize": vecnormalize,
    "pickle of tensors": inert_pickle,
    "file of tensors": tensors,
    "agent's settings": agents_settings,
}
