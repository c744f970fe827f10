"""Games of EnvPool with the rules of the PPD paper.

| | Atari | Procgen |
|---|---|---|
| EnvPool's task | `<Game>-v5` | `<Game>Easy-v0` |
| in training | the first life lost ends the episode | levels 0 to 199 |
| evaluated | whole games | the level whose number is the episode's seed |
| time limit | 108,000 frames (30 minutes), as in ALE | 1000 steps, the game's own |
| actions | the game's minimal set (6 in Pong) | 15 |
| rewards | the game's points, not clipped | the game's |

Atari is Gymnasium's `<Game>NoFrameskip-v4`: an env step is one frame, without sticky actions. As in
SB3's `AtariWrapper`, an episode begins after 1 to 30 no-op steps, and with FIRE if the game has it;
in training the next episode continues with the next life, and the game restarts when all are lost.
Frames are scaled to 84x84 by area. EnvPool does not stack frames: our own `FrameStack` begins each
episode with its first frame.

Seeds of `Enviroment.seeds.VALIDATION` and `EVALUATION` use the rules of evaluation, all others the
rules of training. Results on training seeds (`id`) and datasets (`DATASET`) are therefore of single
lives and of training levels. Evaluation plays whole games, because the paper normalises by human
and random scores of whole games, and because SB3's `evaluate_policy` reports whole games whatever
its wrapper counts as an episode.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

import numpy as np

from Common.errors import UserError, WorkerError
from Enviroment import seeds
from Enviroment.observations import frame_channels
from Enviroment.suites.procgen_libraries import load_qt
from Enviroment.task import Task

TRAINING_LEVELS = range(200)  # Procgen's; evaluation seeds are levels far beyond them
ATARI_TIME_LIMIT = 108_000  # env steps per game
_PROCGEN_TIME_LIMIT = 1000  # env steps, enforced by the game itself
_PROCGEN_FRAME = (64, 64)  # pixels; the only size

Result = TypeVar("Result")


def is_evaluated(seed: int) -> bool:
    """Return whether the seed is for evaluation, not for training."""
    return seed in seeds.VALIDATION or seed in seeds.EVALUATION


def is_alone(seed: int) -> bool:
    """Return whether the episode depends on its seed only, not on other episodes."""
    return is_evaluated(seed) or seed in seeds.DATASET


def game_time_limit(task: Task) -> int:
    """Return the env steps after which an episode of the game is truncated."""
    return ATARI_TIME_LIMIT if task.suite == "atari" else _PROCGEN_TIME_LIMIT


def action_count(task: Task) -> int:
    """Return the number of actions of the task's game.

    Raises:
        UserError: EnvPool or Qt is not installed, or the game lacks frames of that kind.
    """
    spec = load_envpool(task).make_spec(task.env_id, **_drawn(task))
    return int(spec.action_space.n)


@dataclass(frozen=True)
class GameStep:
    """The results of one step of all environments."""

    frames: np.ndarray  # uint8 (n_envs, channels, H, W): the last frame of a finished episode
    rewards: np.ndarray  # float32 (n_envs,)
    terminated: np.ndarray  # bool (n_envs,): the game ended the episode
    truncated: np.ndarray  # bool (n_envs,): only the time limit ended the episode
    levels: np.ndarray | None  # int (n_envs,), Procgen's; None for Atari


class Games:
    """Running games, one per environment, each with its own seed.

    EnvPool seeds a pool only when it makes it. Training games share one pool, in which an
    environment's episodes follow from its first seed. An episode of evaluation or of a dataset has
    a pool of its own, so it depends on its seed only: in a dataset it is the first life of a game,
    or one of the training levels. (A new game of Miner has not yet counted its diamonds: a first
    step into an exit next to the start ends it with the full reward, in 3 levels of 100.)

    Args:
        episode_seeds: int64 (n_envs,), seeds of the first episodes.
        n_threads: number of threads that step the games of a shared pool.
        timeout: seconds without an answer after which a game counts as hung.
    """

    def __init__(
        self, task: Task, episode_seeds: np.ndarray, n_threads: int, timeout: float
    ) -> None:
        self._task = task
        self._alone = is_alone(int(episode_seeds[0]))
        self._patience = Patience(task, timeout)
        rows = np.arange(len(episode_seeds))
        self._rows = [rows[i : i + 1] for i in rows] if self._alone else [rows]
        self._pools = [self._make(episode_seeds[part], n_threads) for part in self._rows]

    def reset(self) -> np.ndarray:
        """Return the first frames of all environments, uint8 (n_envs, channels, H, W)."""
        return np.concatenate([self._first_frames(pool) for pool in self._pools])

    def begin(self, index: int, seed: int) -> np.ndarray:
        """Begin one environment's next episode; return its first frame, uint8 (channels, H, W).

        Args:
            seed: seed of the episode if it has a pool of its own.
        """
        if self._alone:
            self._pools[index] = self._make(np.array([seed]), n_threads=1)
            return self._first_frames(self._pools[index])[0]
        # The step after the end of an episode ignores its action and begins the next one. EnvPool's
        # `reset` would begin a new game of Atari instead of continuing with the next life.
        self._pools[0].send(np.zeros(1, np.int64), np.array([index]))
        return self._shaped(self._patience.call(self._pools[0].recv)[0])[0]

    def send(self, actions: np.ndarray) -> None:
        """Send every game an action, int (n_envs,), to step it."""
        for pool, rows in zip(self._pools, self._rows, strict=True):
            pool.send(actions[rows])

    def receive(self) -> GameStep:
        """Return the results of the actions.

        Raises:
            WorkerError: a game hung.
        """
        answers = self._patience.call(lambda: [pool.recv() for pool in self._pools])
        frames, rewards, ended, cut, infos = zip(*answers, strict=True)
        truncated = np.concatenate(cut)
        # A game that was won or lost in the step of the time limit counts as terminated.
        over = "terminated" if "terminated" in infos[0] else "prev_level_complete"
        truncated &= np.concatenate([info[over] for info in infos]) == 0
        level = "level_seed"
        return GameStep(
            frames=self._shaped(np.concatenate(frames)),
            rewards=np.concatenate(rewards),
            terminated=(np.concatenate(ended) | np.concatenate(cut)) & ~truncated,
            truncated=truncated,
            levels=np.concatenate([i[level] for i in infos]) if level in infos[0] else None,
        )

    def close(self) -> None:
        """Free the games. A second call does nothing."""
        for pool in self._pools:
            pool.close()
        self._pools.clear()  # EnvPool ends the threads of a pool without references
        self._patience.end()

    def _make(self, episode_seeds: np.ndarray, n_threads: int) -> Any:
        return load_envpool(self._task).make_gymnasium(
            self._task.env_id,
            num_envs=len(episode_seeds),
            num_threads=n_threads if len(episode_seeds) > 1 else 1,
            seed=episode_seeds.tolist(),
            **_drawn(self._task),
            **_rules(self._task, int(episode_seeds[0])),
        )

    def _first_frames(self, pool: Any) -> np.ndarray:
        return self._shaped(self._patience.call(pool.reset)[0])

    def _shaped(self, frames: np.ndarray) -> np.ndarray:
        return frames.reshape(-1, frame_channels(self._task), *self._task.frame_size)


def _drawn(task: Task) -> dict[str, Any]:
    """Return EnvPool's options for frames."""
    if task.suite == "atari":
        height, width = task.frame_size
        return {
            "img_height": height,
            "img_width": width,
            "gray_scale": task.grayscale,
            "stack_num": 1,
        }
    if task.frame_size != _PROCGEN_FRAME or task.grayscale:
        raise UserError(f"Task {task.name}: Procgen has colour frames of 64x64 only.")
    return {}


def _rules(task: Task, seed: int) -> dict[str, Any]:
    """Return EnvPool's options for the rules of the game."""
    evaluated = is_evaluated(seed)
    if task.suite == "atari":
        return {
            "frame_skip": 1,
            "repeat_action_probability": 0.0,
            "noop_max": 30,
            "use_fire_reset": True,
            "reward_clip": False,
            "episodic_life": not evaluated,
            "max_episode_steps": ATARI_TIME_LIMIT,
        }
    levels = range(seed, seed + 1) if evaluated else TRAINING_LEVELS
    return {"start_level": levels.start, "num_levels": len(levels)}


def load_envpool(task: Task) -> Any:
    """Return the module `envpool`, ready to play the task.

    Raises:
        UserError: EnvPool, or Qt for Procgen, is not installed.
    """
    if importlib.util.find_spec("envpool") is None:
        raise UserError(
            f"{task.name} is played by EnvPool, which is not installed. "
            "Install it: pip install '.[suites]'"
        )
    import envpool  # an extra, and slow to load  # pyright: ignore[reportMissingImports]

    if task.suite == "procgen":
        procgen = importlib.import_module("envpool.procgen")
        # EnvPool searches for the system's Qt on its import, and continues without it. A second Qt
        # beside that prints warnings with each frame.
        if "ProcgenEnvSpec" not in vars(procgen):
            load_qt()
            importlib.reload(procgen)
    return envpool


class Patience:
    """Makes calls that may hang in a thread that can be abandoned.

    Args:
        seconds: timeout of a call.
    """

    def __init__(self, task: Task, seconds: float) -> None:
        self._task = task
        self._seconds = seconds
        self._calls: SimpleQueue[Callable[[], Any] | None] = SimpleQueue()
        self._answers: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        self._hangs = False
        Thread(target=_answer, args=(self._calls, self._answers), name="games", daemon=True).start()

    def call(self, function: Callable[[], Result]) -> Result:
        """Return the result of the function, or raise its error.

        Raises:
            WorkerError: this call or an earlier one has timed out.
        """
        if not self._hangs:
            self._calls.put(function)
            try:
                value, error = self._answers.get(timeout=self._seconds)
            except Empty:
                self._hangs = True
            else:
                if error is not None:
                    raise error
                return value
        raise WorkerError(
            f"{self._task.name} hangs: EnvPool has given no answer for {self._seconds:g} s. If a "
            "step may take that long, pass make_env a larger worker_timeout."
        )

    def end(self) -> None:
        """End the thread."""
        self._calls.put(None)


def _answer(
    calls: SimpleQueue[Callable[[], Any] | None],
    answers: SimpleQueue[tuple[Any, BaseException | None]],
) -> None:
    while (call := calls.get()) is not None:
        try:
            answers.put((call(), None))
        except Exception as error:  # the caller raises it
            answers.put((None, error))
        del call  # otherwise it would keep its pools alive until the next call
