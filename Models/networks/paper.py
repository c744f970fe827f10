"""The students of the papers per suite: smaller than the teacher, the same size, larger.

Spigler, "Proximal Policy Distillation", 2025 (arXiv 2407.15134): MuJoCo, Atari, Procgen. Its table
4 counts the parameters of the policy network only, averaged over a suite's environments; the
separate value network has the same number except for the last layer:

| suite | smaller | same | larger |
|---|---|---|---|
| mujoco | 22.7k | 95.8k | 322.7k |
| atari | 279.3k | 1.1M | 8.3M |
| procgen | 142.5k | 626k | 4.6M |

These networks have those numbers, with two remarks. The MuJoCo numbers are for observations of
environment version 4 (Ant 27, Humanoid 376); version 5, used here, has other sizes (Ant 105,
Humanoid 348), and the larger first layers give 24.3k, 99.0k and 329.1k. The paper's text gives the
smaller CNN filters {32, 32, 32} with 128 units, which would be 235.9k and 99.4k; the numbers of its
table match exactly Stable-Baselines3's Nature-CNN {32, 64, 64} with 64 units, which is used here.

The Hopper study (`Enviroment.hopper`) has its own sizes.
"""

from __future__ import annotations

from dataclasses import replace

from Common.errors import UserError
from Models.families import GAUSSIAN
from Models.networks.encoders import NATURE
from Models.student.config import StudentConfig

SIZES = ("smaller", "same", "larger")


def _state(*head: int, critic: tuple[int, ...] | None = None) -> StudentConfig:
    return StudentConfig(
        mode="State", head=head, critic_head=critic, activation="ReLU", init_log_std=0.0
    )


def _frames(mode: str, units: int) -> StudentConfig:
    return StudentConfig(
        mode=mode,
        proprio_features=0,
        head=(),
        activation="ReLU",
        init_log_std=0.0,
        fully_connected=units,
        separate_critic=True,
    )


_OF_FRAMES = (_frames(NATURE, 64), _frames("ImpaalaMid", 256), _frames("ImpaalaBig", 1024))
_STUDENTS: dict[str, tuple[StudentConfig, ...]] = {
    "mujoco": (_state(128, 64), _state(256, 256), _state(512, 512)),
    "hopper": (_state(128, 128, critic=(64, 64)), _state(256, 256), _state(512, 512)),
    "atari": _OF_FRAMES,
    "procgen": _OF_FRAMES,
}


def paper_student(suite: str, size: str, family: str) -> StudentConfig:
    """Return the paper's student of a suite.

    Args:
        suite: "mujoco", "hopper" (from the state), "atari" or "procgen" (from frames only).
        size: "smaller", "same" or "larger".
        family: family of the teacher's actions. Gaussians have standard deviations as a parameter,
            as in the paper; squashed Gaussians have state-dependent ones, as their teachers do.

    Raises:
        UserError: the suite, size or family is unknown.
    """
    if suite not in _STUDENTS:
        raise UserError(
            f"The papers have networks (`size`) for the suites {', '.join(_STUDENTS)}; this task "
            f"is in {repr(suite) if suite else 'none'}. Leave out `size`, and give `mode`."
        )
    if size not in SIZES:
        raise UserError(f"`size` {size!r} is not one of {', '.join(SIZES)}.")
    config = _STUDENTS[suite][SIZES.index(size)]
    return replace(config, family=family, std_by_state=family != GAUSSIAN)
