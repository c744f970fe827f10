"""`python -m Evaluation.saliency RUN`: show which pixels actions depend on during an episode.

Computes the norm of the gradient of the mean action with respect to each pixel (Simonyan et al.
2014). It shows where small changes affect the action, not what the student understands, and is
noisy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from Common.commands.progress import tracked
from Common.device import torch_threads
from Common.errors import UserError
from Common.files.durable import writing
from Enviroment.observations import FRAME, newest_pictures
from Enviroment.tasks import Task
from Evaluation.evaluate.episodes import Obs, PolicyAct, run_episodes
from Evaluation.evaluate.subject import Subject, open_subject
from Evaluation.plots.saliency_picture import Pictures, draw_moments
from Evaluation.video import drawn_steps, encode, video_fps
from Models.distributions import DiagGaussian, Distribution
from Models.networks.recurrent import Past
from Models.student.policy import StudentPolicy

if TYPE_CHECKING:
    from Evaluation.saliency.__main__ import SaliencyFlags

SALIENCY_VIDEO, SALIENCY_PICTURE = "saliency.mp4", "saliency.png"
_BATCH = 16  # observations, limits memory for long episodes
_BRIGHTEST = 99.5  # percentile of an episode's gradients shown in full colour


def show_saliency(flags: SaliencyFlags) -> tuple[Path, Path]:
    """Play one episode, and write saliency.mp4 and saliency.png.

    Returns:
        Their paths.

    Raises:
        UserError: there is no student, it does not observe frames, more than one episode is given,
            or the files cannot be written.
    """
    if flags.episodes not in (None, 1):
        raise UserError(
            f"--episodes {flags.episodes}: saliency shows one episode, the first of --seeds."
        )
    seed = flags.seed_range(default=1).start
    subject = open_subject(flags.run, flags.env_id, flags.wrapper, flags.encoder)
    subject.check_uses_frames()
    with torch_threads(flags.threads or subject.threads):
        obs, memory = _play(subject, seed)
        gradients = saliency(subject.student, obs, subject.task, memory)
    pictures = Pictures(newest_pictures(obs[FRAME], subject.task), _scaled(gradients))
    folder = flags.output or subject.diagnostics
    video, picture = folder / SALIENCY_VIDEO, folder / SALIENCY_PICTURE
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        draw_moments(pictures, picture, f"{subject.task.name}, seed {seed}{_titles(subject.task)}")
        _write_video(pictures, subject.task, video)
    print(f"Written to {video} and {picture}")
    return video, picture


def _titles(task: Task) -> str:
    """Return the names of the pictures side by side, for the title; empty for a single one."""
    titles = [view.title for view in task.camera_set.views()]
    return f" ({', '.join(titles)})" if len(titles) > 1 else ""


def _play(subject: Subject, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Return the student's observations in the episode of a seed: `(steps, ...)` per group.

    Also return what a recurrent student remembers before each step, `(steps, units)`.
    """
    recording = _Recording(subject.act(), tuple(subject.groups))
    env = subject.make_env(1)
    try:
        run_episodes(recording, env, subject.task, seed, 1)
    finally:
        env.close()
    seen = {group: np.stack([obs[group] for obs in recording.seen]) for group in subject.groups}
    if not subject.student.config.is_recurrent:
        return seen, None
    blank = np.zeros(subject.student.config.recurrent_units, np.float32)
    states = [blank if state is None else state[0][0] for state in recording.states]
    return seen, np.stack(states)


class _Recording:
    """An `Act` that records what it sees and remembers in the first environment."""

    def __init__(self, act: PolicyAct, groups: tuple[str, ...]) -> None:
        self._act, self._groups = act, groups
        self.seen: list[Mapping[str, np.ndarray]] = []
        self.states: list[tuple[np.ndarray, ...] | None] = []

    def __call__(self, obs: Obs) -> np.ndarray:
        assert isinstance(obs, dict)
        self.seen.append({group: obs[group][0].copy() for group in self._groups})
        self.states.append(self._act.state)
        return self._act(obs)

    def reset(self, begins: np.ndarray) -> None:
        """Reset the hidden state where episodes begin, see `begin_episodes`."""
        self._act.reset(begins)


def saliency(
    student: StudentPolicy,
    obs: Mapping[str, np.ndarray],
    task: Task | None = None,
    memory: np.ndarray | None = None,
) -> np.ndarray:
    """Return how strongly the action depends on each pixel of an observation.

    sqrt(sum_a sum_c (d out_a / d frame_c)^2), over the outputs a and the channels c of the stack,
    of each camera's colour and depth apart; out is the mean of a Gaussian's raw action, or the
    log-probability of the most probable discrete actions.

    Args:
        obs: the groups that the student observes, `(B, ...)`.
        task: its cameras; None: a single picture.
        memory: of a recurrent student, its hidden states before them, `(B, units)`. The gradient
            is that of the action at this step, not of later ones.

    Returns:
        `(B, H, views * W)`, side by side as in `newest_pictures`, for pixel values from 0 to 255.
    """
    parts = [slice(at, at + _BATCH) for at in range(0, len(obs[FRAME]), _BATCH)]
    return np.concatenate(
        [
            _saliency(
                student,
                {g: torch.as_tensor(array[part]) for g, array in obs.items()},
                task,
                None if memory is None else torch.as_tensor(memory[part]),
            )
            for part in tracked(parts, len(parts), "batches", "gradients")
        ]
    )


def _saliency(
    student: StudentPolicy, obs: dict[str, Tensor], task: Task | None, memory: Tensor | None
) -> np.ndarray:
    frames = obs[FRAME].float().requires_grad_()  # (B, channels, H, W)
    obs = {**obs, FRAME: frames}
    if memory is None:
        dist = student.distribution(obs)
    else:
        dist = student.distribution(obs, Past.of_step(memory, np.zeros(len(memory), bool)))
    outputs = _outputs(dist)  # (B, A)
    squares = torch.zeros_like(frames)
    for i in range(outputs.shape[1]):
        # Each output depends only on its own observation, so the sum does not mix gradients.
        (gradient,) = torch.autograd.grad(outputs[:, i].sum(), frames, retain_graph=True)
        squares += gradient.square()
    if task is None:
        return squares.sum(dim=1).sqrt().numpy()  # (B, H, W)
    seen = task.camera_set
    steps = squares.unflatten(1, (-1, seen.channels))  # (B, stack, channels, H, W)
    views = [steps[:, :, view.channels].sum(dim=(1, 2)).sqrt() for view in seen.views()]
    return torch.cat(views, dim=-1).numpy()  # (B, H, views * W)


def _outputs(dist: Distribution) -> Tensor:
    """Return the outputs to differentiate, `(B, A)`."""
    if isinstance(dist, DiagGaussian):
        return dist.mean
    return dist.log_prob(dist.mode())[:, None]


def _scaled(gradients: np.ndarray) -> np.ndarray:
    """Scale gradients to [0, 1] by one factor for the whole episode."""
    top = np.percentile(gradients, _BRIGHTEST)
    return np.clip(gradients / max(float(top), 1e-12), 0, 1)


def _write_video(pictures: Pictures, task: Task, path: Path) -> None:
    steps = drawn_steps(len(pictures) - 1, task)
    frames: Iterator[np.ndarray] = (pictures.beside(t) for t in steps)
    frames = tracked(frames, len(steps), "pictures", path.name)
    height, width = pictures.beside(0).shape[:2]
    encode(frames, (width, height), video_fps(task), path)
