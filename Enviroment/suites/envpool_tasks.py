"""The Atari and Procgen games of the PPD paper (Spigler 2025), played with EnvPool.

Games have no state besides their frames: teacher and student observe the same.
"""

from __future__ import annotations

from Enviroment.task import Task

ATARI_GAMES = (
    "Atlantis",
    "Seaquest",
    "BeamRider",
    "Enduro",
    "Freeway",
    "MsPacman",
    "Pong",
    "Qbert",
    "Zaxxon",
    "DemonAttack",
    "CrazyClimber",
)
PROCGEN_GAMES = ("Miner", "Jumper", "Ninja", "CoinRun")


def _atari(game: str) -> Task:
    """Return a task with the last four gray frames, one env step apart (see `envpool_games`)."""
    return Task(
        name=game,
        env_id=f"{game}-v5",  # EnvPool's name; its options make it `<game>NoFrameskip-v4`
        camera=None,
        proprio=(),
        distance=None,
        frame_size=(84, 84),
        stack=4,
        frame_interval=1,
        suite="atari",
        simulator="envpool",
    )


def _procgen(game: str) -> Task:
    """Return a task with one colour frame of 64x64, Procgen's own size."""
    return Task(
        name=game,
        env_id=f"{game.capitalize()}Easy-v0",
        camera=None,
        proprio=(),
        distance=None,
        frame_size=(64, 64),
        grayscale=False,
        stack=1,
        frame_interval=1,
        suite="procgen",
        simulator="envpool",
    )


ATARI_TASKS = tuple(map(_atari, ATARI_GAMES))
PROCGEN_TASKS = tuple(map(_procgen, PROCGEN_GAMES))
