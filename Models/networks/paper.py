"""The students of the papers: smaller than the teacher, the same, larger, for each suite.

Spigler, "Proximal Policy Distillation", 2025 (arXiv 2407.15134): MuJoCo, Atari, Procgen. Its table
4 counts the parameters of the policy network alone, averaged over a suite's environments; the
value network, which is separate, has as many again but for the last layer:

| suite | smaller | same | larger |
|---|---|---|---|
| mujoco | 22.7k | 95.8k | 322.7k |
| atari | 279.3k | 1.1M | 8.3M |
| procgen | 142.5k | 626k | 4.6M |

These networks have those numbers, with two remarks. MuJoCo's are of the observations of the
environments' version 4 (Ant 27, Humanoid 376); version 5, played here, has others (Ant 105,
Humanoid 348), whose larger first layer makes them 24.3k, 99.0k and 329.1k. And the paper's text
gives the smaller CNN filters {32, 32, 32} with 128 units, which would be 235.9k and 99.4k; its
table's numbers are, to the last digit, those of Stable-Baselines3's Nature-CNN {32, 64, 64} with
64 units, so that is what is here.

The Hopper study (`Enviroment.hopper`) has sizes of its own.
"""

from __future__ import annotations

from dataclasses import replace

from Common.errors import UserError
from Models.distributions import DiagGaussian
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
    """The paper's student of a suite.

    Args:
        suite: "mujoco", "hopper" (from the state), "atari" or "procgen" (from frames alone).
        size: "smaller", "same" or "larger".
        family: of the teacher's actions. Gaussians have their standard deviations as a parameter,
            as the paper's; squashed ones give them for each state, as their teachers do.

    Raises:
        UserError: there is no such suite, size or family.
    """
    if suite not in _STUDENTS:
        raise UserError(
            f"The papers have networks (`size`) for the suites {', '.join(_STUDENTS)}; this task "
            f"is of {repr(suite) if suite else 'none'}. Leave out `size`, and give `mode`."
        )
    if size not in SIZES:
        raise UserError(f"`size` {size!r} is none of {', '.join(SIZES)}.")
    config = _STUDENTS[suite][SIZES.index(size)]
    return replace(config, family=family, std_by_state=family != DiagGaussian.family)
