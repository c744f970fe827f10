"""Small files that would hang, fill the memory or end the interpreter; and folders of others."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from Common.errors import UserError
from Common.files.bounded_read import parse_json
from Common.files.yaml_file import parse_yaml
from Common.runs.files import read_metrics
from Common.runs.run_folder import check_free, clear, holds_run
from Common.runs.tracking import write_config
from Distillation.flags.file import read_flag_file
from Distillation.starting.cloned_run import read_cloned_run
from Distillation.sweeps.grid import read_grid
from Evaluation.runs import read_run
from Models.sb3.inert_pickle import RefusedPickleError, read_inert
from Models.sb3.zip_file import read_sb3_zip
from Train_Teacher.checkpoint import find_newest

# -- YAML and JSON ---------------------------------------------------------------------------------

LAUGHS = "a0: &a0 [x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 30)
)
MERGES = "a0: &a0 {k0: x}\n" + "".join(
    f"a{i}: &a{i} {{k{i}: x, <<: [{', '.join([f'*a{i - 1}'] * 10)}]}}\n" for i in range(1, 30)
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (LAUGHS, "more than 20,000 values"),
        (MERGES, "more than 20,000 values"),
        ("a: &a [*a]", "it contains itself"),
        ("[" * 50_000, "nested more than 32 deep"),
        ("a: " + "9" * 5000, "a number of more than 64 characters"),
        ("a: 0x" + "f" * 5000, "a number of more than 64 characters"),
        ("a: 0b_", "invalid literal"),
        ("a: 1\nb: 2\na: 3", "line 3: the key 'a' is given twice"),
        ("g: {a: 1, a: 1}", "the key 'a' is given twice"),
        ("a: !!binary aGk=", "not a plain value"),
        ("a: !!set {x}", "not a plain value"),
        ("? [a]\n: 1", "a key must be a word"),
        ("a: \x07", "special characters"),
    ],
)
def test_yaml_that_nobody_writes_is_refused(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_yaml(text)


def test_yaml_that_people_write_is_read() -> None:
    text = "base: &b {a: 1, c: [x, 2.5, null, true]}\nd: {<<: *b, a: 2}\ne: *b\nf: 2024-01-02"
    base = {"a": 1, "c": ["x", 2.5, None, True]}
    assert parse_yaml(text) == {"base": base, "d": {**base, "a": 2}, "e": base, "f": "2024-01-02"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[" * 10**5, "nested more than 64 deep"),
        ("[" * 65 + "]" * 65, "nested more than 64 deep"),
        ("[" + "9" * 5000 + "]", "digits"),
        (f'{{"a": [{2**128}]}}', "more than 128 bits"),
        (r'["\ud800"]', "surrogates"),
    ],
)
def test_json_that_no_run_writes_is_refused(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_json(text)


def test_json_as_deep_and_as_large_as_runs_write_it_is_read() -> None:
    assert parse_json("[" * 64 + "]" * 64)
    assert parse_json(f"[{2**128 - 1}]") == [2**128 - 1]


def test_a_grid_of_millions_is_refused_before_it_is_built(tmp_path: Path) -> None:
    path = tmp_path / "g.yaml"
    axes = {"gamma": 70, "clip_coef": 70, "num_envs": 70, "num_steps": 70}
    lists = "".join(f"  {name}: {list(range(n))}\n" for name, n in axes.items())
    path.write_text(f"tasks: Pusher\nmethods: PPD\naxes:\n{lists}")
    with pytest.raises(UserError, match=r"24,010,000 combinations.*10,000 runs"):
        read_grid(path, {}, tmp_path / "out")
    path.write_text("tasks: Pusher\nmethods: PPD\nseeds: [" + "0, " * 6000 + "0]\ngrids: [{}, {}]")
    with pytest.raises(UserError, match="12,002 combinations"):  # of all blocks together
        read_grid(path, {}, tmp_path / "out")


# -- pickles and archives --------------------------------------------------------------------------


def test_a_pickle_of_two_megabytes_does_not_end_the_interpreter() -> None:
    """A tuple in a tuple, two million times, as a key: C hashes it by recursion."""
    with pytest.raises(RefusedPickleError, match="nested more than 100 deep"):
        read_inert(b"\x80\x02}N" + b"\x85" * 2_000_000 + b"Ns.", ())
    # Each kept, and fetched again for the next.
    chain = b"\x80\x02N\x85q\x00" + b"".join(b"0h\x00\x85q\x00" for _ in range(10_000))
    with pytest.raises(RefusedPickleError, match="nested more than 100 deep"):
        read_inert(chain + b".", ())


def test_a_pickle_of_endless_steps_is_refused() -> None:
    with pytest.raises(RefusedPickleError, match="more than 300,000 steps"):
        read_inert(b"\x80\x02" + b"N0" * 500_000 + b"N.", ())


def test_a_zip_that_unpacks_to_hundreds_of_megabytes_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "agent.zip"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("data", "w") as file,
    ):
        for _ in range(40):
            file.write(b" " * 2**20)
    assert path.stat().st_size < 100_000
    with pytest.raises(UserError, match="data unpacks to more than 32 MiB"):
        read_sb3_zip(path, None)


# -- what is no file -------------------------------------------------------------------------------

READERS: dict[str, Callable[[Path], object]] = {
    "config.json": lambda path: read_run(path.parent),
    "metrics.jsonl": lambda path: read_metrics(path.parent),
    "grid.yaml": lambda path: read_grid(path, {}, path.parent / "out"),
    "flags.yaml": lambda path: read_flag_file(path, ()),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_pipe_or_a_device_is_refused_and_not_waited_for(
    name: str, make: Callable[[Path], object], tmp_path: Path
) -> None:
    make(tmp_path / name)
    with pytest.raises(UserError, match="not a regular file"):
        READERS[name](tmp_path / name)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_pipe_in_a_run_that_others_go_on_from(
    make: Callable[[Path], object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / "config.json")
    with pytest.raises(UserError, match="is no run"):
        read_cloned_run(tmp_path, "Pusher")
    assert not holds_run(tmp_path)
    checkpoint = tmp_path / "checkpoints" / "step_000000000001"
    checkpoint.mkdir(parents=True)
    make(checkpoint / "manifest.json")
    with pytest.raises(UserError, match="Every checkpoint"):
        find_newest(checkpoint.parent)
    assert "It is skipped" in capsys.readouterr().err


# -- folders of others -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        "[]",
        "{",
        '{"model_type": "bert", "architectures": ["BertModel"]}',  # a model of Hugging Face
        '{"config": {"lr": 1}, "command": "python x.py", "versions": {}, "teacher_sha256": null}',
    ],
)
def test_overwrite_deletes_no_run_of_others(content: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match="`overwrite` deletes nothing here"):
        check_free(tmp_path, overwrite=True)
    with pytest.raises(UserError, match="already holds a run"):
        check_free(tmp_path)


def test_overwrite_knows_a_run_of_ours(tmp_path: Path) -> None:
    write_config(tmp_path, {"task": "Pusher"}, teacher_sha256=None, command=["x"])
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    check_free(tmp_path, overwrite=True)
    # As the first version wrote it: no git, other versions, flags that are gone.
    old = {"config": {"task": "Pusher", "flags": 1}, "command": "python Distillation/Pusher.py"}
    old |= {"versions": {"python": "3.11.2", "torch": "2.1"}, "teacher_sha256": "ab"}
    (tmp_path / "config.json").write_text(json.dumps(old))
    check_free(tmp_path, overwrite=True)
    clear(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
