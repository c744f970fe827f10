"""Report a finished run: evaluation of the best student, video, curves and table."""

from __future__ import annotations

from pathlib import Path

import torch
from rich.console import Console
from stable_baselines3.common.vec_env import VecEnv

from Common.commands.progress import progress_shown
from Common.commands.wording import short_count
from Common.runs import run_folder
from Common.runs.files import METRICS_FILE
from Common.runs.tracking import RunTracker
from Distillation.flags.resolve import Flags
from Distillation.starting.teaching import TeacherSetup
from Enviroment import seeds
from Enviroment.tasks import Task
from Evaluation.evaluate.episodes import policy_act
from Evaluation.evaluate.figures import evaluate_student, figures_table
from Evaluation.plots.run_curves import curves_or_warning
from Evaluation.tool import write_json
from Evaluation.video import record_video
from Models.bundle import read_bundle
from Models.student.bundle import load_student

_VIDEO_HEIGHT = 480  # pixels


@progress_shown()
def report(
    task: Task,
    flags: Flags,
    folder: Path,
    teacher_setup: TeacherSetup,
    env: VecEnv,
    tracker: RunTracker,
    step: int,
    title: str,
) -> None:
    """Evaluate the best saved student on evaluation seeds, and write the report.

    Write `evaluation.json`, `videos/student.mp4` and `curves.png`, and print the table.

    Args:
        step: step of the last logging point.
        title: name of the student in the video.
    """
    torch.manual_seed(seeds.model(0))  # for sampled actions
    student = load_student(folder / run_folder.STUDENT)
    act = policy_act(student, deterministic=task.judged_by_mode)
    n_episodes = flags.run.final_episodes
    baselines, successes = teacher_setup.all_baselines(env, task, n_episodes)
    figures = evaluate_student(act, env, task, baselines, n_episodes, successes=successes)
    write_json(folder / run_folder.FIGURES_FILE, figures)
    written = {"student": folder / run_folder.STUDENT, "metrics": folder / METRICS_FILE}
    if flags.run.video and task.has_frames:
        path = folder / run_folder.VIDEOS / "student.mp4"
        trained = read_bundle(folder / run_folder.STUDENT, "student")[1]["training"]["steps"]
        caption = f"{title}, {short_count(trained)} {flags.method.chosen.counts}"
        seed = seeds.EVALUATION.start
        video = record_video(act, env, task, path, seed, _VIDEO_HEIGHT, caption).path
        if video is not None:
            tracker.video("final/video", video, step)
            written["video"] = video
    curves = curves_or_warning(folder)
    if curves is not None:
        written["curves"] = curves
    console = Console()
    console.print(figures_table(figures, task))
    for what, path in written.items():
        console.print(f"{what:8} {path}", soft_wrap=True, highlight=False, markup=False)
