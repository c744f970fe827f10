"""`python -m Evaluation.gallery RUN`: film a student's worst and best episodes.

Each episode is played once, one after the other. Only the recordings of the episodes that may be
filmed are kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from Common.commands.progress import tracked
from Common.device import torch_threads
from Common.errors import UserError
from Common.files.durable import writing
from Evaluation.evaluate.subject import Subject, open_subject
from Evaluation.report.entries import GALLERY
from Evaluation.tool import write_json
from Evaluation.video import Played, play, write_video

if TYPE_CHECKING:
    from Evaluation.gallery.__main__ import GalleryFlags

_HEIGHTS = (64, 1080)  # pixels


def film_gallery(flags: GalleryFlags) -> dict[str, Any]:
    """Play the episodes, film the extreme ones, and write `gallery.json` beside the videos.

    Returns:
        The content of the file: `episodes`, each with `kind`, `seed`, `return`, `outcome` and
        `video`, the worst first; and `played`, the number of episodes.

    Raises:
        UserError: there is no student, its task has no frames, a flag is out of range, or the files
            cannot be written.
    """
    seeds = _checked(flags)
    subject = open_subject(flags.run, flags.env_id, flags.wrapper, flags.encoder)
    if not subject.task.has_frames:
        raise UserError(f"{subject.task.name} has no frames and cannot be filmed.")
    with torch_threads(flags.threads or subject.threads):
        worst, best = _extremes(subject, seeds, flags.worst, flags.best)
    path = flags.output / Path(GALLERY).name if flags.output else subject.diagnostics / GALLERY
    filmed = []
    with writing(f"--output {path.parent}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        for kind, episodes in (("worst", worst), ("best", best)):
            for seed, played in episodes:
                video = path.parent / f"seed_{seed}.mp4"
                outcome = played.outcome(subject.task)
                title = f"{kind} of {len(seeds)}, seed {seed}"
                shape = (seed, flags.height, title, "fast")
                if write_video(played, subject.task, video, *shape) is None:
                    continue  # it has warned
                filmed.append(
                    {
                        "kind": f"{kind} of {len(seeds)}",
                        "seed": seed,
                        "return": played.episode_return,
                        "outcome": outcome,
                        "video": video.name,
                    }
                )
                print(f"{kind:5} seed {seed}: {outcome}")
    result = {"played": len(seeds), "episodes": filmed}
    write_json(path, result)
    print(f"Written to {path}")
    return result


def _checked(flags: GalleryFlags) -> range:
    seeds = flags.seed_range(default=20)
    if min(flags.worst, flags.best) < 0 or not 0 < flags.worst + flags.best <= len(seeds):
        raise UserError(
            f"--worst {flags.worst} and --best {flags.best} must be 0 or more, and together 1 to "
            f"the {len(seeds)} episodes that are played."
        )
    if not _HEIGHTS[0] <= flags.height <= _HEIGHTS[1] or flags.height % 2:
        raise UserError(
            f"--height {flags.height} must be even and between {_HEIGHTS[0]} and {_HEIGHTS[1]}."
        )
    return seeds


def _extremes(
    subject: Subject, seeds: range, n_worst: int, n_best: int
) -> tuple[list[tuple[int, Played]], list[tuple[int, Played]]]:
    """Return the seeds and recordings of the worst and of the best episodes, worst first."""
    kept: list[tuple[int, Played]] = []  # by return
    act, env = subject.act(), subject.make_env(1)
    try:
        for seed in tracked(seeds, len(seeds), "episodes"):
            kept.append((seed, play(act, env, subject.task, seed)))
            kept.sort(key=lambda episode: episode[1].episode_return)
            if len(kept) > n_worst + n_best:
                del kept[n_worst]
    finally:
        env.close()
    return kept[:n_worst], kept[n_worst:]
