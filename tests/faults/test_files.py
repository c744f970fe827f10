"""Checkpoints and bundles through kills, full disks, flipped bits and truncation."""

import contextlib
import functools
import hashlib
import itertools
import json
import os
import signal
from pathlib import Path

import pytest
import torch

from Common.errors import UserError
from Common.files.locks import LOCK_FILE, locked
from Common.runs.checkpoint import CheckpointStore
from Common.runs.files import METRICS_FILE
from Common.runs.run_folder import CURVES_FILE
from Evaluation.plots.run_curves import curves_or_warning
from Models.bundle import read_bundle, write_bundle
from tests.support.faults.killed_child import kill_at_write, largest_file, run_child

KILLED = -signal.SIGKILL


def save(root, step, *, best=False, n=1000):
    weights = torch.full((n,), float(step))
    tensors = {"model": {"w": weights}, "optimizer": {"m": weights * 2}}
    return CheckpointStore(root).save(step, tensors, {"step": step}, best=best)


def check_whole(checkpoint, n=1000):
    """Weights, optimizer and values are all of the same step."""
    assert checkpoint is not None
    step = checkpoint.step
    assert checkpoint.values == {"step": step}
    assert torch.equal(checkpoint.tensors("model")["w"], torch.full((n,), float(step)))
    assert torch.equal(checkpoint.tensors("optimizer")["m"], torch.full((n,), 2.0 * step))
    return step


# -- kills ---------------------------------------------------------------------------------------


def test_a_checkpoint_survives_a_kill_at_every_write(tmp_path, capfd):
    """With two older ones and an unfinished one, so that pruning and clearing are cut as well."""
    outcomes = []
    for k in itertools.count():
        root = tmp_path / str(k)
        save(root, 1, best=True)
        save(root, 2)
        save(root, 3)
        unfinished = root / ".step_000000000002.partial"
        unfinished.mkdir()
        (unfinished / "model.safetensors").write_bytes(b"half")
        code = run_child(functools.partial(save, root, 4), kill_at_write(k))
        newest, best = CheckpointStore(root).newest(), CheckpointStore(root).best()
        outcomes.append((code, check_whole(newest)))
        assert check_whole(best) == 1
        # The run goes on from it, and leaves no trace of what happened.
        save(root, 4)
        save(root, 5)
        names = [int(path.name.removeprefix("step_")) for path in sorted(root.iterdir())]
        assert names == [1, 4, 5]
        if code == 0:
            break
        assert code == KILLED
    # 3 files to be opened, 4 flushes and a rename at the least; before the rename the older one.
    assert len(outcomes) > 12
    assert [step for _, step in outcomes] == sorted(step for _, step in outcomes)
    assert {step for _, step in outcomes} == {3, 4}
    assert "damaged" not in capfd.readouterr().err


@pytest.mark.parametrize("n_bytes", [0, 1, 100, 4100])
def test_a_checkpoint_survives_a_kill_in_the_middle_of_a_file(n_bytes, tmp_path):
    save(tmp_path, 1)
    code = run_child(lambda: save(tmp_path, 2, n=2000), largest_file(n_bytes, kill=True))
    assert code == -signal.SIGXFSZ
    assert check_whole(CheckpointStore(tmp_path).newest()) == 1


def test_a_bundle_survives_a_kill_at_every_write(tmp_path):
    tensors = {step: {"w": torch.full((10,), float(step))} for step in (1, 2)}
    steps = []
    for k in itertools.count():
        folder = tmp_path / str(k)
        write_bundle(folder, "student", tensors[1], {"step": 1})
        code = run_child(
            functools.partial(write_bundle, folder, "student", tensors[2], {"step": 2}),
            kill_at_write(k),
        )
        weights, description = read_bundle(folder, "student")
        assert torch.equal(weights["w"], tensors[description["step"]]["w"])
        steps.append(description["step"])
        write_bundle(folder, "student", tensors[2], {"step": 2})
        assert sorted(os.listdir(folder)) == ["student.json", "student.safetensors"]
        if code == 0:
            break
        assert code == KILLED
    assert steps == sorted(steps)
    assert set(steps) == {1, 2}


# -- no room -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_bytes", [0, 200, 4000])
def test_a_full_disk_stops_with_an_error_and_the_older_ones_stay(n_bytes, tmp_path, capfd):
    save(tmp_path, 1)
    assert run_child(lambda: save(tmp_path, 2, n=2000), largest_file(n_bytes)) == 1
    error = capfd.readouterr().err
    assert error.startswith("UserError")
    assert "step_000000000002 cannot be written: File too large" in error
    assert "`resume`" in error
    assert os.listdir(tmp_path) == ["step_000000000001"]
    assert check_whole(CheckpointStore(tmp_path).newest()) == 1


def test_a_bundle_on_a_full_disk_is_the_older_one(tmp_path, capfd):
    write_bundle(tmp_path, "teacher", {"w": torch.zeros(10)}, {"step": 1})
    newer = {"w": torch.zeros(10_000)}
    code = run_child(
        lambda: write_bundle(tmp_path, "teacher", newer, {"step": 2}), largest_file(1000)
    )
    assert code == 1
    assert "cannot be written" in capfd.readouterr().err
    weights, description = read_bundle(tmp_path, "teacher")
    assert (description["step"], len(weights["w"])) == (1, 10)


def test_curves_on_a_full_disk_cost_a_warning_only(tmp_path, capfd):
    (tmp_path / METRICS_FILE).write_text('{"step": 1, "eval/od_return": 1.0}\n' * 2)

    def draw():
        assert curves_or_warning(tmp_path) is None

    assert run_child(draw, largest_file(1000)) == 0
    assert "No curves: " in capfd.readouterr().err
    assert os.listdir(tmp_path) == [METRICS_FILE]
    assert curves_or_warning(tmp_path) == tmp_path / CURVES_FILE


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells the peak memory")
def test_large_tensors_are_written_without_a_second_copy(tmp_path, capfd):
    """A replay buffer may fill half of the memory."""

    def write():
        tensors = {"replay": {"rows": torch.ones(2**25)}}  # 128 MiB
        before = peak_memory()
        CheckpointStore(tmp_path).save(1, tensors, {})
        print(peak_memory() - before, flush=True)

    assert run_child(write) == 0
    assert int(capfd.readouterr().out) < 16 * 2**20


def peak_memory():
    """Of this process so far, in bytes."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


# -- damage --------------------------------------------------------------------------------------


def flip(path, position, bit):
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_any_flipped_bit_is_noticed(name, tmp_path, capsys):
    save(tmp_path, 1)
    path = save(tmp_path, 2, n=4) / name
    original = path.read_bytes()
    for position in range(len(original)):
        flip(path, position, position % 8)
        assert check_whole(CheckpointStore(tmp_path).newest()) == 1
        assert f"step_000000000002 is damaged: {name}" in capsys.readouterr().err
        path.write_bytes(original)
    assert check_whole(CheckpointStore(tmp_path).newest(), n=4) == 2


def test_any_flipped_bit_of_the_manifest_is_noticed_or_changes_nothing(tmp_path):
    save(tmp_path, 1)
    path = save(tmp_path, 2, n=4) / "manifest.json"
    intact = CheckpointStore(tmp_path).newest()
    original, unnoticed = path.read_bytes(), []
    for position in range(len(original)):
        flip(path, position, position % 8)
        newest = CheckpointStore(tmp_path).newest()
        if newest == intact:
            unnoticed.append(chr(original[position]))
        else:
            assert check_whole(newest) == 1
        path.write_bytes(original)
    assert set(unnoticed) <= set(" \n")  # one white space for another


@pytest.mark.parametrize("name", ["model.safetensors", "state.json", "manifest.json"])
def test_any_truncation_is_noticed(name, tmp_path):
    save(tmp_path, 1)
    path = save(tmp_path, 2, n=4) / name
    original = path.read_bytes()
    for size in range(len(original.rstrip())):
        path.write_bytes(original[:size])
        assert check_whole(CheckpointStore(tmp_path).newest()) == 1


def test_any_flipped_bit_or_truncation_of_a_bundles_weights_is_named(tmp_path):
    write_bundle(tmp_path, "student", {"w": torch.arange(3.0)}, {})
    path = tmp_path / "student.safetensors"
    original = path.read_bytes()
    damaged = [original[:size] for size in range(len(original))]
    for position in range(len(original)):
        flip(path, position, position % 8)
        damaged.append(path.read_bytes())
        path.write_bytes(original)
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"student\.safetensors does not match"):
            read_bundle(tmp_path, "student")


def test_any_flipped_bit_of_a_bundles_description_is_named(tmp_path):
    said = {"gamma": 0.99, "layers": [64, 64], "command": "python train.py"}
    write_bundle(tmp_path, "student", {"w": torch.arange(3.0)}, said)
    path = tmp_path / "student.json"
    original = path.read_bytes()
    written = read_bundle(tmp_path, "student")[1]
    kept = (*said, "sha256", "kind", "format")
    for position in range(len(original)):
        flip(path, position, position % 8)
        with contextlib.suppress(UserError):  # otherwise: white space, or the hash's own name
            description = read_bundle(tmp_path, "student")[1]
            assert {name: description[name] for name in kept} == {
                name: written[name] for name in kept
            }
        path.write_bytes(original)


def test_a_checkpoint_of_a_matching_manifest_with_a_garbled_header_is_refused(tmp_path, capsys):
    """Whoever can write the manifest can make it match: the header must hold by itself."""
    store = CheckpointStore(tmp_path)
    path = save(tmp_path, 1)
    manifest = json.loads((path / "manifest.json").read_text())
    huge = b'{"w":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}'
    for content in (b"\xff" * 8, (2**40).to_bytes(8, "little"), _header(huge), b""):
        (path / "model.safetensors").write_bytes(content)
        manifest["files"]["model.safetensors"] = {
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        (path / "manifest.json").write_text(json.dumps(manifest))
        checkpoint = store.newest()
        assert checkpoint is not None
        with pytest.raises(UserError, match=r"damaged: model\.safetensors"):
            checkpoint.tensors("model")


def _header(text):
    return len(text).to_bytes(8, "little") + text + bytes(16)


# -- one writer ----------------------------------------------------------------------------------


def lock_and_die(folder):
    with locked(folder):
        os.kill(os.getpid(), signal.SIGKILL)


def test_two_processes_cannot_write_one_folder(tmp_path, capfd):
    run = tmp_path / "new" / "run"

    def lock():
        with locked(run):
            pass

    with locked(run):
        assert run_child(lock) == 1
        message = capfd.readouterr().err
        assert f"is being written by process {os.getpid()} on" in message
        assert run_child(lock) == 1  # the one that was refused did not take it away
    assert run_child(lock) == 0
    assert not run.exists()


def test_a_lock_dies_with_its_process(tmp_path):
    assert run_child(lambda: lock_and_die(tmp_path)) == KILLED
    assert os.listdir(tmp_path) == [LOCK_FILE]
    with locked(tmp_path):
        (tmp_path / "config.json").write_text("{}")
    assert os.listdir(tmp_path) == ["config.json"]


def test_a_link_in_the_place_of_a_lock_is_refused(tmp_path):
    (tmp_path / "precious").write_text("kept")
    (tmp_path / LOCK_FILE).symlink_to(tmp_path / "precious")
    with pytest.raises(UserError, match="cannot be written"), locked(tmp_path):
        pass
    assert (tmp_path / "precious").read_text() == "kept"


# -- over and over -------------------------------------------------------------------------------


@pytest.mark.soak
def test_a_thousand_kills_at_random_writes_of_a_run(tmp_path):
    """A run that saves 3 checkpoints is killed somewhere, and goes on: no step is ever lost."""
    generator = torch.Generator().manual_seed(0)
    reached = 0

    def go_on(first):
        for step in range(first, first + 3):
            save(tmp_path, step)

    for _ in range(1000):
        k = int(torch.randint(80, (), generator=generator))
        run_child(functools.partial(go_on, reached + 1), kill_at_write(k))
        newest = CheckpointStore(tmp_path).newest()
        step = 0 if newest is None else check_whole(newest)
        assert step >= reached
        reached = step
    assert reached > 100
