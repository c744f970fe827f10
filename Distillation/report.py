"""What a finished run says: its best student on unseen seeds, a video, curves, a table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from stable_baselines3.common.vec_env import VecEnv

from Distillation.flags import Flags
from Enviroment import seeds
from Enviroment.tasks import Task
from Evaluation import run_folder
from Evaluation.evaluate import EpisodeStats, policy_act, run_episodes, skill, skill_interval
from Evaluation.plots import draw_curves
from Evaluation.tracking import RunTracker, read_metrics
from Evaluation.video import record_video
from Models.student import load_student
from Models.teacher import Teacher

EVALUATION_FILE = "evaluation.json"
_VIDEO_HEIGHT = 480  # pixels


def report(
    task: Task, flags: Flags, folder: Path, teacher: Teacher, env: VecEnv, tracker: RunTracker
) -> None:
    """Evaluates the best student, as it was saved, on seeds that neither trained nor chose it.

    Writes `evaluation.json`, `videos/student.mp4` and `curves.png`, and prints the table.
    """
    student = load_student(folder / run_folder.STUDENT)
    act = policy_act(student)
    stats = run_episodes(act, env, task, seeds.EVALUATION.start, flags.run.final_episodes)
    baselines = {
        name: np.array(returns["evaluation"][: flags.run.final_episodes])
        for name, returns in teacher.description.baselines.items()
    }
    figures = _figures(stats, baselines)
    (folder / EVALUATION_FILE).write_text(json.dumps(figures, indent=1) + "\n")
    video = None
    if flags.run.video:
        path = folder / run_folder.VIDEOS / "student.mp4"
        video = record_video(act, env, task, path, seeds.EVALUATION.start, _VIDEO_HEIGHT).path
    if video is not None:
        tracker.video("eval/video", video, flags.total_timesteps)
    draw_curves(folder)
    _print_table(folder, figures, stats.distance_name, video)


def _figures(stats: EpisodeStats, baselines: dict[str, np.ndarray]) -> dict[str, float]:
    figures = {"episodes": len(stats.seeds), "first_seed": int(stats.seeds[0])}
    figures |= stats.summary()
    for name, returns in baselines.items():
        if len(returns) == len(stats.seeds):
            figures[f"{name}_return"] = float(returns.mean())
    if {"teacher_return", "blind_return"} <= figures.keys():
        known = stats.returns, baselines["teacher"], baselines["blind"]
        low, high = skill_interval(*known)
        figures |= {"skill": skill(*known), "skill_low": low, "skill_high": high}
    return figures


def _print_table(
    folder: Path, figures: dict[str, float], distance: str, video: Path | None
) -> None:
    table = Table(title=f"The best student on {figures['episodes']:.0f} unseen seeds")
    table.add_column("figure")
    table.add_column("value", justify="right")
    interval = f"{figures['return_low']:.2f} to {figures['return_high']:.2f}"
    rows = {"return (95% interval)": f"{figures['return']:.2f} ({interval})"}
    for name in ("teacher", "blind", "nothing", "random"):
        if f"{name}_return" in figures:
            rows[f"return of {name}"] = f"{figures[f'{name}_return']:.2f}"
    if "skill" in figures:
        interval = f"{figures['skill_low']:.3f} to {figures['skill_high']:.3f}"
        rows["skill (95% interval)"] = f"{figures['skill']:.3f} ({interval})"
    if distance in figures:
        rows[distance.replace("_", " ")] = f"{figures[distance]:.3f} m"
        rows["success"] = f"{figures['success']:.0%}"
    last = read_metrics(folder)[-1]
    rows["env steps"] = f"{last['step']:,}"
    for row in rows.items():
        table.add_row(*row)
    console = Console()
    console.print(table)
    for what, path in {
        "student": folder / run_folder.STUDENT,
        "video": video,
        "curves": folder / "curves.png",
        "metrics": folder / "metrics.jsonl",
    }.items():
        if path is not None:
            console.print(f"{what:8} {path}", soft_wrap=True, highlight=False)
