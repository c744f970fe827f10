"""Checkpoints: what is stored comes back to the bit, whole ones only, and the right ones stay."""

import json
import random
import re

import numpy as np
import pytest
import torch

from Common.errors import UserError
from Common.runs.checkpoint import Checkpoint, CheckpointStore
from Common.runs.generators import capture_generators, restore_generators
from Common.runs.packing import pack, unpack

DTYPES = (
    *("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8"),
    *("uint8", "uint16", "uint32", "uint64", "bool"),
)


def save(store, step, best=False):
    return store.save(step, {"model": {"w": torch.full((2,), float(step))}}, {"n": step}, best=best)


def names(store):
    return sorted(path.name for path in store.root.iterdir())


def stored(state, tmp_path, part="state"):
    """What comes back of a state that is packed, saved and read from the disk."""
    tensors, values = pack(state)
    CheckpointStore(tmp_path).save(1, {part: tensors}, {part: values})
    found = CheckpointStore(tmp_path).newest()
    assert found is not None
    return unpack(found.tensors(part), found.values[part])


# -- what comes back -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", DTYPES)
def test_every_dtype_comes_back_to_the_bit(name, tmp_path):
    raw = torch.arange(64, dtype=torch.uint8)  # any bits, of NaNs and denormals as well
    tensor = (raw % 2).bool() if name == "bool" else raw.view(getattr(torch, name))
    shapes = {"vector": tensor, "matrix": tensor.reshape(2, -1), "none": tensor[:0]}
    path = CheckpointStore(tmp_path).save(3, {"all": shapes | {"scalar": tensor[1]}}, {})
    checkpoint = CheckpointStore(tmp_path).newest()
    assert checkpoint is not None
    assert (checkpoint.path, checkpoint.step, checkpoint.values) == (path, 3, {})
    for key, value in checkpoint.tensors("all").items():
        expected = (shapes | {"scalar": tensor[1]})[key]
        assert value.dtype == expected.dtype
        assert value.shape == expected.shape
        assert value.contiguous().reshape(-1).view(torch.uint8).tolist() == (
            expected.contiguous().reshape(-1).view(torch.uint8).tolist()
        )


def test_arrays_views_and_tensors_that_share_memory_come_back(tmp_path):
    base = torch.arange(12.0)
    readonly = np.arange(3)
    readonly.flags.writeable = False
    group = {
        "whole": base,
        "part": base[2:5],
        "transposed": base.reshape(3, 4).t(),
        "parameter": torch.nn.Parameter(base[:2]),
        "array": np.arange(6, dtype=np.uint32)[::-2],
        "zero_dimensions": np.array(5, dtype=np.uint64),
        "readonly": readonly,
    }
    CheckpointStore(tmp_path).save(0, {"model": group, "empty": {}}, {})
    checkpoint = CheckpointStore(tmp_path).newest()
    assert checkpoint is not None
    assert checkpoint.parts == ("model", "empty")
    assert checkpoint.tensors("empty") == {}
    back = checkpoint.tensors("model")
    assert back["part"].tolist() == [2.0, 3.0, 4.0]
    assert back["transposed"].tolist() == [[0, 4, 8], [1, 5, 9], [2, 6, 10], [3, 7, 11]]
    assert back["parameter"].tolist() == [0.0, 1.0]
    assert back["array"].numpy().tolist() == [5, 3, 1]
    assert (back["zero_dimensions"].shape, int(back["zero_dimensions"])) == ((), 5)
    assert back["readonly"].tolist() == [0, 1, 2]


def test_a_group_that_is_not_there_is_named(tmp_path):
    save(CheckpointStore(tmp_path), 1)
    checkpoint = CheckpointStore(tmp_path).newest()
    assert checkpoint is not None
    with pytest.raises(UserError, match="no optimizer: model"):
        checkpoint.tensors("optimizer")


def test_packed_state_comes_back_as_what_it_was(tmp_path):
    state = {
        "betas": (0.9, 0.999),
        3: [1, None, True, "text", {"nested": ()}],
        "best": float("-inf"),
        "third": 1 / 3,
        "big": 2**127 + 1,  # PCG64's states are of 128 bits
        "a.b": torch.tensor(1),
        "a": {"b": torch.tensor(2)},
        "array": np.array([[1.5]]),
    }
    back = stored(state, tmp_path)
    array = back.pop("array")
    assert array.dtype == np.float64
    assert array.tolist() == [[1.5]]
    del state["array"]
    assert list(back) == list(state)
    assert back == state
    assert type(back["betas"]) is tuple
    assert back[3][2] is True


@pytest.mark.parametrize(
    "value", [{1, 2}, object(), {(1, 2): 3}, {True: 1}, np.array(["text"]), np.array([object()])]
)
def test_what_cannot_be_packed_is_named_with_its_place(value):
    with pytest.raises(TypeError, match=r"state\.0"):
        pack([value])


@pytest.mark.parametrize("values", [{"dict": 3}, {"tensor": "x"}, {}, {"a": 1, "b": 2}, {"?": 1}])
def test_what_pack_never_made_is_a_clear_error(values):
    with pytest.raises(UserError, match="did not write the stored state"):
        unpack({}, values)


@pytest.mark.parametrize("value", [(1, 2), {1: 2}, float("nan"), float("inf"), np.float32(1)])
def test_values_that_json_would_change_are_refused(value, tmp_path):
    with pytest.raises(ValueError, match=r"JSON"):
        CheckpointStore(tmp_path / "c").save(1, {}, {"nested": [{"value": value}]})
    assert not (tmp_path / "c").exists()


# -- optimizers ----------------------------------------------------------------------------------

OPTIMIZERS = {
    "adam": lambda ps: torch.optim.Adam(ps, lr=3e-3, betas=(0.8, 0.99)),
    "fused": lambda ps: torch.optim.AdamW(ps, lr=3e-3, fused=True),
    "amsgrad": lambda ps: torch.optim.Adam(ps, lr=torch.tensor(3e-3), amsgrad=True),
    "groups": lambda ps: torch.optim.AdamW([{"params": ps[:1], "lr": 1e-4}, {"params": ps[1:]}]),
    "momentum": lambda ps: torch.optim.SGD(ps, lr=0.1, momentum=0.9),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("steps_before", [0, 3])
def test_an_optimizer_goes_on_to_the_bit(kind, steps_before, tmp_path):
    def make():
        torch.manual_seed(0)
        model = torch.nn.Linear(4, 3)
        return model, OPTIMIZERS[kind](list(model.parameters()))

    def train(model, optimizer, first, n):
        for i in range(first, first + n):
            torch.manual_seed(i)
            optimizer.zero_grad()
            model(torch.randn(5, 4)).square().mean().backward()
            optimizer.step()

    model, optimizer = make()
    train(model, optimizer, 0, steps_before)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    state = stored(optimizer.state_dict(), tmp_path)
    train(model, optimizer, steps_before, 3)

    again, fresh = make()
    again.load_state_dict(weights)
    fresh.load_state_dict(state)
    assert type(fresh.param_groups[0].get("betas", ())) is tuple
    train(again, fresh, steps_before, 3)
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


# -- random generators ---------------------------------------------------------------------------

BIT_GENERATORS = [np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64]


def draw(own):
    return (
        [random.random(), random.gauss(0, 1)],
        [np.random.rand(), np.random.randn()],
        torch.randn(3).tolist(),
        [generator.normal() for generator in own.values()],
        [generator.integers(100, dtype=np.uint8) for generator in own.values()],
    )


def test_all_generators_go_on_to_the_bit(tmp_path):
    own = {kind.__name__: np.random.Generator(kind(1)) for kind in BIT_GENERATORS}
    draw(own)  # an odd number of normals: each keeps a half-used pair
    state = capture_generators(own)
    back = stored(state, tmp_path)
    expected = draw(own)
    others = {kind.__name__: np.random.Generator(kind(2)) for kind in BIT_GENERATORS}
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    restore_generators(back, others)
    assert draw(others) == expected


def test_generators_of_other_names_or_kinds_are_refused():
    state = capture_generators({"a": np.random.default_rng(0)})
    with pytest.raises(UserError, match=r"\['a'\], not \['b'\]"):
        restore_generators(state, {"b": np.random.default_rng(0)})
    with pytest.raises(UserError, match="do not fit"):
        restore_generators(state, {"a": np.random.Generator(np.random.MT19937(0))})


# -- which are kept and used ---------------------------------------------------------------------


def test_the_newest_and_the_best_are_kept(tmp_path):
    store = CheckpointStore(tmp_path, keep=2)
    assert store.newest() is None
    assert store.best() is None
    for step in (10, 200, 3000):
        save(store, step, best=step == 200)
    save(store, 40000)
    save(store, 5 * 10**12)  # more digits than the names are padded to
    assert [int(name[5:]) for name in names(store)] == [200, 40000, 5 * 10**12]
    newest, best = store.newest(), store.best()
    assert newest is not None
    assert best is not None
    assert (newest.step, newest.best, newest.values) == (5 * 10**12, False, {"n": 5 * 10**12})
    assert (best.step, best.best) == (200, True)
    assert best.tensors("model")["w"].tolist() == [200.0, 200.0]
    save(store, 6 * 10**12, best=True)
    assert [int(name[5:]) for name in names(store)] == [5 * 10**12, 6 * 10**12]


def test_a_store_of_one_replaces_it_whatever_its_step(tmp_path):
    store = CheckpointStore(tmp_path, keep=1)
    for text in ("first", "second"):
        store.replace({"model": {"w": torch.zeros(2)}}, {"text": text})
    newest = CheckpointStore(tmp_path).newest()
    assert newest is not None
    assert newest.values == {"text": "second"}
    assert len(names(store)) == 1


def test_a_run_resumes_from_the_newest_and_never_from_none_where_all_are_damaged(tmp_path):
    store = CheckpointStore(tmp_path)
    assert store.to_resume() is None
    newest = Checkpoint.open(save(store, 1))
    assert store.to_resume() == newest
    (newest.path / "state.json").unlink()
    with pytest.raises(UserError, match=r"Every checkpoint in .* is damaged"):
        store.to_resume()


def test_whoever_may_read_the_values_may_read_the_tensors(tmp_path):
    modes = {path.stat().st_mode for path in save(CheckpointStore(tmp_path), 1).iterdir()}
    assert len(modes) == 1


def test_a_checkpoint_is_never_overwritten(tmp_path):
    store = CheckpointStore(tmp_path)
    path = save(store, 7)
    before = (path / "manifest.json").stat().st_ino
    assert store.save(7, {}, {"n": "another"}) == path
    assert (path / "manifest.json").stat().st_ino == before


def test_a_damaged_one_is_named_once_passed_over_and_replaced(tmp_path, capsys):
    store = CheckpointStore(tmp_path, keep=2)
    for step in (1, 2, 3):
        save(store, step)
    (tmp_path / "step_000000000003" / "model.safetensors").write_bytes(b"")
    newest = store.newest()
    assert newest is not None
    assert newest.step == 2
    assert store.newest() == newest
    assert capsys.readouterr().err.count("step_000000000003 is damaged: model.safetensors") == 1
    save(store, 3)
    assert capsys.readouterr().err == ""
    newest = CheckpointStore(tmp_path).newest()
    assert newest is not None
    assert newest.step == 3


def test_a_damaged_one_does_not_count_among_those_kept(tmp_path, capsys):
    store = CheckpointStore(tmp_path, keep=2)
    for step in (1, 2):
        save(store, step)
    (tmp_path / "step_000000000002" / "state.json").unlink()
    assert store.newest() is not None
    save(store, 3)
    assert names(store) == ["step_000000000001", "step_000000000003"]
    assert "step_000000000002 is damaged: state.json is missing" in capsys.readouterr().err


def test_unfinished_ones_are_no_checkpoints_and_go_at_the_next_save(tmp_path):
    store = CheckpointStore(tmp_path)
    save(store, 1)
    (tmp_path / ".step_000000000002.partial").mkdir()
    (tmp_path / ".step_000000000002.partial" / "model.safetensors").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("of a person")
    newest = store.newest()
    assert newest is not None
    assert newest.step == 1
    save(store, 3)
    assert names(store) == ["notes.txt", "step_000000000001", "step_000000000003"]


@pytest.mark.parametrize("step", [-1, 10**18, 1.5])
def test_a_step_is_a_whole_number(step, tmp_path):
    with pytest.raises(ValueError, match=r"whole number|format"):
        CheckpointStore(tmp_path).save(step, {}, {})


@pytest.mark.parametrize("part", ["", "..", "a/b", "A", "a.b", "a\0", "x" * 300, "/etc/passwd"])
def test_names_of_groups_cannot_be_paths(part, tmp_path):
    with pytest.raises(ValueError, match="a-z"):
        CheckpointStore(tmp_path / "c").save(1, {part: {}}, {})
    assert not list(tmp_path.iterdir())


def test_at_least_one_is_kept(tmp_path):
    with pytest.raises(UserError, match="`keep` 0"):
        CheckpointStore(tmp_path, keep=0)


# -- manifests that nobody wrote -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "has format 2"),
        ({"kind": "dataset"}, "describes no checkpoint"),
        ({"step": 2}, "is of step 2"),
        ({"best": 1}, "garbled"),
        ({"extra": 1}, "garbled"),
        ({"files": {}}, r"lists no state\.json"),
        ({"files": {"state.json": {}, "../secret.safetensors": {}}}, "no file of a checkpoint"),
        ({"files": {"state.json": {}, "/etc/passwd": {}}}, "no file of a checkpoint"),
        ({"files": {"state.json": {}, "a\0.safetensors": {}}}, "no file of a checkpoint"),
        ({"files": {"state.json": {}, "x" * 300 + ".safetensors": {}}}, "no file of a checkpoint"),
        ({"files": {"state.json": {}, "model.pt": {}}}, "no file of a checkpoint"),
        ({"files": {"state.json": {}}}, "damaged: 'bytes'"),
        ({"files": {"state.json": 3}}, "damaged"),
    ],
)
def test_a_manifest_that_no_run_wrote_is_refused(change, message, tmp_path, capsys):
    store = CheckpointStore(tmp_path)
    path = save(store, 1) / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert store.newest() is None
    captured = capsys.readouterr().err
    assert "step_000000000001 is damaged" in captured
    assert re.search(message, captured)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, "\0"])
def test_a_manifest_that_is_no_json_object_is_refused(text, tmp_path, capsys):
    store = CheckpointStore(tmp_path)
    (save(store, 1) / "manifest.json").write_text(text)
    assert store.newest() is None
    assert "step_000000000001 is damaged" in capsys.readouterr().err
    save(store, 2)  # and it does not keep the next from being saved
    assert CheckpointStore(tmp_path).newest() is not None


def test_links_are_not_followed(tmp_path, capsys):
    elsewhere = save(CheckpointStore(tmp_path / "elsewhere"), 1)
    root = tmp_path / "run"
    root.mkdir()
    (root / elsewhere.name).symlink_to(elsewhere)
    assert CheckpointStore(root).newest() is None
    assert "it is a link" in capsys.readouterr().err

    target = tmp_path / "target.safetensors"
    (elsewhere / "model.safetensors").rename(target)
    (elsewhere / "model.safetensors").symlink_to(target)
    assert CheckpointStore(tmp_path / "elsewhere").newest() is None
    assert "model.safetensors is missing, or no file" in capsys.readouterr().err


def test_a_link_in_the_place_of_an_unfinished_one_is_not_written_through(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("kept")
    store = CheckpointStore(tmp_path / "run")
    store.root.mkdir()
    (store.root / ".step_000000000001.partial").symlink_to(outside)
    save(store, 1)
    assert [path.name for path in outside.iterdir()] == ["precious"]
    assert names(store) == ["step_000000000001"]
