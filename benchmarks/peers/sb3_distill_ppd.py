"""PPD of sb3_distill, the library of the PPD paper: a student of the state, and one of frames.

Usage: python -m benchmarks.peers.sb3_distill_ppd [--env-steps 34560]

sb3_distill is not on the package index: its README names the command that installs it. Without it,
the rows hold the reason, and a stand-in of this project (`benchmarks/rivals/recomputing_loop.py`,
the same update on SB3's PPO) shows what SB3's CNN learns by that update. Settings are those of its
README, "Basic usage".

Two adapters are needed. Its teacher is an SB3 model of the student's own observations, so
`TeacherModel` reads the state out of them; and the features extractor of the student of frames
leaves the state out.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.distributions import DiagGaussianDistribution
from stable_baselines3.common.torch_layers import CombinedExtractor
from torch import Tensor

from benchmarks.peers.setting import (
    ROLLOUT,
    SEEN,
    Arguments,
    Clock,
    Row,
    begin,
    evaluate,
    seed_of,
    teacher,
    training_env,
    versioned,
)
from benchmarks.rivals.recomputing_loop import RecomputingPPD
from Enviroment.observations import STATE
from Models.distributions import DiagGaussian

NOT_INSTALLED = (
    "not installed: it is not on the package index, only on GitHub; the script runs it where it is "
    "installed"
)
_README: dict[str, Any] = {
    "n_steps": ROLLOUT,
    "batch_size": 64,
    "n_epochs": 5,
    "learning_rate": 2.5e-4,
    "gamma": 0.999,
    "ent_coef": 0.01,
}
STUDENTS: dict[str, tuple[str, ...]] = {"state": (STATE,), "cnn": (*SEEN, STATE)}
_SEES = {"state": "state", "cnn": "frames, joints"}


class WithoutState(CombinedExtractor):
    """SB3's extractor for dictionaries, with its Nature-CNN, blind to the state."""

    def __init__(self, observation_space: spaces.Dict, **settings: Any) -> None:
        seen = {name: observation_space[name] for name in SEEN}
        super().__init__(spaces.Dict(seen), **settings)


class TeacherModel:
    """This project's teacher, as far as PPD uses an SB3 model: `policy.get_distribution`."""

    def __init__(self) -> None:
        self._teacher = teacher()
        self.policy = SimpleNamespace(get_distribution=self._get_distribution)

    def _get_distribution(self, obs: Tensor | Mapping[str, Tensor]) -> DiagGaussianDistribution:
        state = obs[STATE] if isinstance(obs, Mapping) else obs
        ours = self._teacher.distribution(state)
        assert isinstance(ours, DiagGaussian)
        theirs = DiagGaussianDistribution(ours.mean.shape[-1])
        return theirs.proba_distribution(ours.mean, ours.log_std)


def run(arguments: Arguments, student: str) -> Row:
    """Train a student with sb3_distill, or return the row with the reason why not."""
    method = f"PPD, {'MlpPolicy' if student == 'state' else 'MultiInputPolicy'}"
    try:
        from sb3_distill import (  # pyright: ignore[reportMissingImports]
            ProximalPolicyDistillation,
        )
    except ImportError:
        return Row("sb3_distill", method, _SEES[student], note=NOT_INSTALLED)
    model = make(ProximalPolicyDistillation, arguments, student)
    model.set_teacher(TeacherModel(), distill_lambda=1)
    return _trained(model, arguments, student, versioned("sb3_distill"), method)


def run_stand_in(arguments: Arguments, student: str) -> Row:
    """Train a student with this project's loop that computes what sb3_distill does."""
    model = make(RecomputingPPD, arguments, student)
    model.teacher, model.distill_lambda = TeacherModel(), 1.0
    method = f"PPD, {'MlpPolicy' if student == 'state' else 'MultiInputPolicy'}"
    name = f"stand-in for sb3_distill on {versioned('stable-baselines3', 'SB3')}"
    return _trained(model, arguments, student, name, method)


def make(algorithm: type[PPO], arguments: Arguments, student: str) -> Any:
    """Return an algorithm with SB3's network and the settings of sb3_distill's README."""
    network = {"features_extractor_class": WithoutState} if student == "cnn" else {}
    return algorithm(
        "MultiInputPolicy" if student == "cnn" else "MlpPolicy",
        training_env(arguments, STUDENTS[student]),
        policy_kwargs=network,
        seed=seed_of(arguments),
        device="cpu",
        **_README,
    )


def _trained(model: Any, arguments: Arguments, student: str, name: str, method: str) -> Row:
    clock = Clock()
    model.learn(arguments.env_steps)
    minutes, cpu_minutes = clock.pause()
    model.env.close()
    return Row(
        name,
        method,
        _SEES[student],
        env_steps=model.num_timesteps,
        gradient_steps=model.num_timesteps // model.batch_size * model.n_epochs,
        figures=evaluate(model, STUDENTS[student], arguments),
        minutes=minutes,
        cpu_minutes=cpu_minutes,
    )


if __name__ == "__main__":
    _arguments = begin(__doc__)
    for _student in STUDENTS:
        _row = run(_arguments, _student)
        _row.write(_arguments.output, f"sb3_distill_{_student}")
        if _row.figures is None:
            run_stand_in(_arguments, _student).write(_arguments.output, f"stand_in_{_student}")
