"""Runs for a report, and the report of them."""

from __future__ import annotations

import json

import numpy as np
from matplotlib.image import imsave
from plotly.offline import get_plotlyjs

from Evaluation.report.__main__ import ReportFlags, write_report
from Evaluation.report.entries import find_entries
from Evaluation.report.rows import make_rows
from Evaluation.video import encode
from tests.support.run_folders import write_run

NASTY = '</script><script>window.hacked=1</script><img src=x onerror="window.hacked=1">'


def figures(skill, **more):
    return {
        "episodes": 50,
        "return": -40 + 14 * skill,
        "skill": skill,
        "teacher_return": -26.0,
        "object_goal_distance": 0.1,
        "success": 0.4,
    } | more


def write_runs(folder, method, skills, *, task="Pusher", mode="ImpaalaSmall", **more):
    for i, skill in enumerate(skills):
        write_run(
            folder / f"{task}_{method}_{mode}_{i}",
            None if skill is None else figures(skill),
            task=task,
            method=method,
            size=None,
            mode=mode,
            run_index=i,
            **more,
        )


def write_curve(folder, skills, seconds=10.0):
    points = [
        {
            "step": 1000 * i,
            "time/env_steps": 1000 * i,
            "time/gradient_steps": 10 * i,
            "time/seconds": seconds * i,
            "eval/od_skill": skill,
            "eval/teacher_return": -26.0,
        }
        for i, skill in enumerate(skills)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(p) + "\n" for p in points))


def rows_of_folder(folder):
    return make_rows(find_entries([folder]))


def write(folder, *results, **flags):
    """The page without Plotly's script, which holds any text that a test may look for."""
    write_report(ReportFlags(results or (folder,), folder.parent / "report", **flags))
    return (folder.parent / "report" / "index.html").read_text().replace(get_plotlyjs(), "")


def nasty_run(folder):
    write_run(folder, figures(0.7), task=NASTY, method=NASTY, mode=NASTY, teacher=NASTY)
    described = json.loads((folder / "config.json").read_text())
    described |= {"command": NASTY, "git_sha": NASTY, "versions": {NASTY: NASTY}}
    described["config"]["training"][NASTY] = NASTY
    (folder / "config.json").write_text(json.dumps(described))
    (folder / "diagnostics").mkdir()
    measured = {"verdict": NASTY, NASTY: {NASTY: 0.25}, "list": [NASTY]}
    (folder / "diagnostics" / "sight.json").write_text(json.dumps(measured))
    return folder


def write_diagnostics(folder):
    """What `Evaluation.sight`, `robustness` and `linear_probe` leave behind, with round numbers."""
    folder.mkdir()
    at = {"return_low": -32.0, "return_high": -28.0, "skill": 0.5, "success": 0.25, "length": 9.0}
    fall = {"return": -40.0, "drop": 10.0, "drop_low": 8.0, "drop_high": 12.5}
    sight = {
        "verdict": "Sight is used: so it seems.",
        "used": True,
        "episodes": 4,
        "variants": {"as it is": {"return": -30.0} | at, "frames <zeroed>": at | fall},
    }
    levels = [{"level": level, "return": -30.0 - level} | at for level in (-2.0, 0.0, 4.0)]
    curve = {"unit": "pixels to the right", "none": 0.0, "levels": levels}
    robustness = {"episodes": 4, "teacher_return": -26.0, "curves": {"camera_shift": curve}}
    probe = {"verdict": "Look.", "warn": True, "r2": {"17": 0.95, "18": None}}
    files = {"sight": sight, "robustness": robustness, "linear_probe": probe}
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    write_picture(folder / "robustness.png")
    return folder


def write_picture(path):
    """A PNG of 8 by 8 pixels."""
    imsave(path, np.zeros((8, 8, 3), np.uint8))
    return path


def write_video(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    encode(
        iter(np.full((40, 32, 32, 3), 6 * i, np.uint8)[0] for i in range(40)), (32, 32), 20, path
    )
