"""Packed runs: the same tables and curves, without the weights."""

from __future__ import annotations

import gzip
import json

import pytest

from Common.errors import UserError
from Common.runs.files import read_metrics
from Evaluation.metrics import METRICS
from Evaluation.pack import PackFlags, pack_runs
from Evaluation.plots.curves import read_curve
from Evaluation.runs import find_runs
from Evaluation.table import table
from tests.support.run_folders import write_run

FIGURES = {"skill": 0.5, "return": -30.0}


def test_packed_runs_give_the_same_tables_and_curves(tmp_path):
    runs = [
        write_run(tmp_path / "runs" / name, FIGURES, run_index=i) for i, name in enumerate("ab")
    ]
    described = json.loads((runs[0] / "config.json").read_text())
    described["command"] = f"python Distillation/Hopper.py --output {runs[0]}"
    (runs[0] / "config.json").write_text(json.dumps(described))
    with (runs[0] / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 2, "time/env_steps": 2000, "eval/od_skill": 0.4}) + "\n")
    (runs[0] / "student").mkdir()
    (runs[0] / "student" / "student.safetensors").write_bytes(b"weights")
    pack_runs(PackFlags((tmp_path / "runs",), tmp_path / "kept" / "evidence"))
    kept = tmp_path / "kept" / "evidence"
    names = sorted(path.name for path in (kept / "a").iterdir())
    assert names == ["config.json", "evaluation.json", "metrics.jsonl.gz"]
    before, after = find_runs([tmp_path / "runs"]), find_runs([kept])
    assert table(after) == table(before)
    assert after[0].command == "python Distillation/Hopper.py --output a"
    assert str(tmp_path) not in (kept / "a" / "config.json").read_text()
    assert [run.metrics for run in after] == [run.metrics for run in before]
    curves = [read_curve(of[0], METRICS["skill"], "env_steps") for of in (before, after)]
    assert [(c.x.tolist(), c.y.tolist()) for c in curves if c] == [([2000.0], [0.4])] * 2
    written = (runs[0] / "metrics.jsonl").read_text().splitlines()
    with gzip.open(kept / "a" / "metrics.jsonl.gz", "rt") as file:
        assert list(map(json.loads, file)) == list(map(json.loads, written))


def test_the_same_run_gives_the_same_bytes(tmp_path):
    run = write_run(tmp_path / "run", FIGURES)
    contents = []
    for name in "ab":
        pack_runs(PackFlags((run,), tmp_path / name))
        contents.append((tmp_path / name / "run" / "metrics.jsonl.gz").read_bytes())
    assert contents[0] == contents[1]


def test_a_moved_run_keeps_no_path_of_its_machine(tmp_path):
    runs = [write_run(tmp_path / "new" / name, FIGURES, run_index=i) for i, name in enumerate("ab")]
    described = json.loads((runs[0] / "config.json").read_text())
    described["config"]["run"] = {"output": "/home/someone/old/a"}
    described["command"] = "python Distillation/Pusher.py --PPD --output /home/someone/old/a"
    (runs[0] / "config.json").write_text(json.dumps(described))
    pack_runs(PackFlags((tmp_path / "new",), tmp_path / "kept"))
    packed = json.loads((tmp_path / "kept" / "a" / "config.json").read_text())
    assert packed["config"]["run"] == {"output": "a"}
    assert packed["command"] == "python Distillation/Pusher.py --PPD --output a"


def test_unfinished_runs_and_existing_folders_are_refused(tmp_path):
    run = write_run(tmp_path / "cut", None)
    with pytest.raises(UserError, match=r"Without a final evaluation: .*cut\. Finish"):
        pack_runs(PackFlags((run,), tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    (tmp_path / "there").mkdir()
    with pytest.raises(UserError, match="there exists"):
        pack_runs(PackFlags((run,), tmp_path / "there"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-9], "incomplete"),
        (lambda content: b"not gzip", "cannot be read"),
        (lambda content: content[:20] + b"\xff" * 8 + content[28:], "cannot be read"),
    ],
)
def test_damaged_packed_metrics_are_an_error(tmp_path, damage, message):
    run = write_run(tmp_path / "run", FIGURES)
    pack_runs(PackFlags((run,), tmp_path / "kept"))
    path = tmp_path / "kept" / "run" / "metrics.jsonl.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=message):
        read_metrics(path.parent)


def test_metrics_that_unpack_to_more_than_the_limit_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("Common.runs.files.MAX_METRICS", 1000)
    (tmp_path / "metrics.jsonl.gz").write_bytes(gzip.compress(b" " * 100_000))
    with pytest.raises(UserError, match="larger than 1,000 bytes"):
        read_metrics(tmp_path)
