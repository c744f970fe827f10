"""The Atari and Procgen games of the PPD paper (Spigler 2025), which EnvPool plays.

What a game shows is all that there is: teacher and student see the same frames.
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
    """The last four frames in gray, one env step apart: see `envpool_games` for the rules."""
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
    """One frame in colour, 64x64 as Procgen draws it."""
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
