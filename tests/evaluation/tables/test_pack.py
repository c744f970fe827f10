"""Packed runs: the same tables and curves, without the weights."""

from __future__ import annotations

import gzip
import json
import shlex

import pytest

from Common.errors import UserError
from Common.runs.files import read_metrics
from Evaluation.metrics import METRICS
from Evaluation.pack import PackFlags, pack_runs
from Evaluation.plots.curves import read_curve
from Evaluation.report.entries import find_entries
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


def test_a_packed_run_beside_its_original_is_no_further_seed(tmp_path, capsys):
    for i in range(2):
        student = write_run(tmp_path / "runs" / str(i), FIGURES, run_index=i) / "student"
        student.mkdir()
        (student / "student.json").write_text(json.dumps({"sha256": str(i)}))
    pack_runs(PackFlags((tmp_path / "runs",), tmp_path / "packed"))
    runs = find_runs([tmp_path])
    assert [run.run_index for run in runs] == [0, 1]
    assert table(runs)[0]["runs"] == "2"
    assert capsys.readouterr().err.count(" is a copy of ") == 2
    assert len(find_entries([tmp_path]).entries) == 2


def test_an_output_that_cannot_be_written_is_refused(tmp_path):
    run = write_run(tmp_path / "run", FIGURES)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"--output .*file/packed cannot be written: "):
        pack_runs(PackFlags((run,), tmp_path / "file" / "packed"))


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


def test_only_paths_at_or_below_the_common_folder_are_shortened(tmp_path):
    root = tmp_path / "my runs"
    runs = [write_run(root / name, FIGURES, run_index=i) for i, name in enumerate("ab")]
    described = json.loads((runs[0] / "config.json").read_text())
    elsewhere = f"/mnt{root}/teachers/ppo"
    described["config"]["teaching"]["teacher"] = elsewhere
    described["config"]["run"] = {"output": f"{runs[0]}"}
    described["config"]["notes"] = [f"{root}_2/x", f"{root}", f"{runs[0]}_teacher", f"see {root}/x"]
    words = ["python", "X.py", "--teacher", elsewhere, f"--output={runs[0]}", f"{root}/c d/"]
    described["command"] = shlex.join(words)
    (runs[0] / "config.json").write_text(json.dumps(described))
    untouched = (runs[1] / "config.json").read_bytes()
    pack_runs(PackFlags((root,), tmp_path / "kept"))
    packed = json.loads((tmp_path / "kept" / "a" / "config.json").read_text())
    assert packed["config"]["teaching"]["teacher"] == elsewhere
    assert packed["config"]["run"] == {"output": "a"}
    # `a` is where the run lies, but `a_teacher` is another folder below the common one.
    assert packed["config"]["notes"] == [f"{root}_2/x", ".", "a_teacher", f"see {root}/x"]
    assert shlex.split(packed["command"]) == [*words[:4], "--output=a", "c d/"]
    assert (tmp_path / "kept" / "b" / "config.json").read_bytes() == untouched


def test_a_folder_whose_name_begins_with_that_of_a_moved_run_is_kept(tmp_path):
    runs = [write_run(tmp_path / "new" / name, FIGURES, run_index=i) for i, name in enumerate("ab")]
    described = json.loads((runs[0] / "config.json").read_text())
    described["config"]["run"] = {"output": "/old/run/"}
    described["config"]["teaching"]["teacher"] = "/old/run_teacher"
    described["command"] = "python X.py '--output /old/run/x' --seen '/old/run/x"  # a quote is open
    (runs[0] / "config.json").write_text(json.dumps(described))
    pack_runs(PackFlags((tmp_path / "new",), tmp_path / "kept"))
    packed = json.loads((tmp_path / "kept" / "a" / "config.json").read_text())
    assert packed["config"]["teaching"]["teacher"] == "/old/run_teacher"
    assert packed["config"]["run"] == {"output": "a"}
    assert packed["command"] == described["command"]


def test_runs_with_nothing_but_the_root_in_common_keep_their_paths(tmp_path, monkeypatch):
    runs = [write_run(tmp_path / name, FIGURES, run_index=i) for i, name in enumerate("ab")]
    described = json.loads((runs[0] / "config.json").read_text())
    described["config"]["run"] = {"output": str(runs[0])}
    described["config"]["teaching"]["teacher"] = "hf://me/teacher"
    described["command"] = f"python X.py --output {runs[0]} --teacher hf://me/teacher"
    (runs[0] / "config.json").write_text(json.dumps(described))
    monkeypatch.setattr("Evaluation.pack.commonpath", lambda _: "/")
    pack_runs(PackFlags(tuple(runs), tmp_path / "kept"))
    packed = tmp_path / "kept" / runs[0].relative_to("/") / "config.json"
    assert json.loads(packed.read_text()) == described


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
