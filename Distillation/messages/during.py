"""What a run shows during training: its progress, and a video per evaluation."""

from __future__ import annotations

from pathlib import Path

from Common.commands.wording import short_count
from Common.runs.run_folder import VIDEOS
from Common.runs.tracking import RunTracker
from Distillation.messages.banner import student_title
from Distillation.methods import Setting
from Enviroment import seeds
from Evaluation.evaluate.callbacks import EvaluationCallback, Film
from Evaluation.evaluate.progress_bar import ProgressBar
from Evaluation.video import Played, write_video

_HEIGHT = 256  # pixels of the video per evaluation


def make_progress(setting: Setting, evaluation: EvaluationCallback) -> ProgressBar:
    """Return the progress bar of a run, whose estimate includes the final evaluation."""
    flags, run = setting.flags, setting.flags.run
    collects = flags.method.chosen.takes("rounds")
    return ProgressBar(
        evaluation.times,
        # An evaluation plays its episodes twice: on training and on validation seeds.
        ending=run.final_episodes / (2 * run.eval_episodes),
        first_steps=flags.cloning.round_gradient_steps if collects else 1,
    )


def make_film(setting: Setting, folder: Path, tracker: RunTracker) -> Film | None:
    """Return the function that makes a video of an evaluation for W&B.

    Returns: None without W&B, without frames or with `--no_video`.
    """
    task = setting.task
    if not (setting.flags.run.video and tracker.takes_videos and task.has_frames):
        return None
    unit = setting.flags.method.chosen.counts

    def film(played: Played, step: int) -> bool:
        path = folder / VIDEOS / f"eval_{step:09d}.mp4"
        title = f"{student_title(setting)}, {short_count(step)} {unit}"
        # In reference quality a video would take longer than the evaluation.
        seed = seeds.VALIDATION.start
        video = write_video(played, task, path, seed, _HEIGHT, title, quality="fast")
        if video is not None:
            tracker.video("eval/video", video, step)
        return video is not None

    return film
