"""The teacher: a frozen policy on the state, read from a bundle.

Raw state goes in; the teacher applies its own frozen normaliser. What it was trained with does
not matter here: an adapter (`Models.sb3_zip`) brings every agent into this one form.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from Enviroment.errors import UserError
from Models.bundle import read_bundle, write_bundle
from Models.distributions import FAMILIES, Categorical, DiagGaussian, Distribution, SquashedGaussian

MIN_STD = 0.05  # in action units before the tanh
_LOG_STD_RANGE = (-20.0, 2.0)  # SB3's, of its squashed Gaussians
_ACTIVATIONS = {"ELU": nn.ELU, "ReLU": nn.ReLU, "Tanh": nn.Tanh, "SiLU": nn.SiLU, "GELU": nn.GELU}
_VALUE_KINDS = ("state", "action", None)

Baselines = dict[str, dict[str, list[float]]]  # policy -> seeds' name -> return of each seed


def activation_class(name: str) -> type[nn.Module]:
    """The activation of that name, one of those that a bundle can describe.

    Raises:
        UserError: there is none.
    """
    if name not in _ACTIVATIONS:
        raise UserError(f"Activation {name!r} is none of {', '.join(_ACTIVATIONS)}.")
    return _ACTIVATIONS[name]


@dataclass(frozen=True)
class TeacherDescription:
    """All of a teacher but its tensors, as `teacher.json` holds it."""

    task: str
    algo: str
    family: str  # a key of Models.distributions.FAMILIES
    state_dim: int
    action_dim: int  # discrete: how many actions there are
    action_low: tuple[float, ...]  # bounds of the environment's actions; empty: discrete
    action_high: tuple[float, ...]
    actor_layers: tuple[int, ...]  # units of the hidden layers
    critic_layers: tuple[int, ...]
    n_critics: int
    value_kind: str | None  # what a critic sees: "state", or the state and an "action"
    activation: str
    normaliser_clip: float | None  # standard deviations; None: not clipped
    normaliser_epsilon: float  # added to the variance
    reward_scale: float  # raw rewards over the rewards that the critics were trained on
    gamma: float  # discount
    command: str  # that made it
    versions: dict[str, str]  # of the packages that made it
    baselines: Baselines  # e.g. baselines["random"]["evaluation"]
    sha256: str = ""  # of the weights; empty until the bundle is written

    def __post_init__(self) -> None:
        activation_class(self.activation)
        sizes = (self.state_dim, self.action_dim, *self.actor_layers, *self.critic_layers)
        if not all(isinstance(size, int) and size > 0 for size in sizes):
            raise UserError(f"the sizes {sizes} must be whole and above 0.")
        if self.family not in FAMILIES:
            raise UserError(
                f"Action distribution {self.family!r} is none of {', '.join(FAMILIES)}."
            )
        if self.value_kind not in _VALUE_KINDS:
            raise UserError(f"value_kind {self.value_kind!r} is none of {_VALUE_KINDS}.")
        n_bounds = 0 if self.family == Categorical.family else self.action_dim
        if not len(self.action_low) == len(self.action_high) == n_bounds:
            raise UserError(f"{self.action_dim} actions need as many low and high bounds.")

    @classmethod
    def from_json(cls, data: Mapping[str, Any], source: Path) -> Self:
        """The description that `source` holds; what else it holds is for people.

        Raises:
            UserError: a key is missing, or does not mean what it should.
        """
        try:
            values = {field.name: data[field.name] for field in fields(cls)}
            values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
            return cls(**values)
        except KeyError as error:
            raise UserError(f"{source} lacks {error}, which a teacher needs.") from error
        except (UserError, TypeError, ValueError) as error:
            raise UserError(f"{source} describes no teacher: {error}") from error


class StateNormaliser(nn.Module):
    """(state - mean) / sqrt(var + epsilon), clipped: VecNormalize's, in its double precision."""

    mean: Tensor
    var: Tensor

    def __init__(self, state_dim: int, clip: float | None, epsilon: float) -> None:
        super().__init__()
        self.clip, self.epsilon = clip, epsilon
        self.register_buffer("mean", torch.zeros(state_dim, dtype=torch.float64))
        self.register_buffer("var", torch.ones(state_dim, dtype=torch.float64))

    def forward(self, state: Tensor) -> Tensor:
        """`(B, state_dim)` of any float type -> `(B, state_dim)` float32."""
        normalised = (state.double() - self.mean) / (self.var + self.epsilon).sqrt()
        if self.clip is not None:
            normalised = normalised.clamp(-self.clip, self.clip)
        return normalised.float()


class Teacher(nn.Module):
    """A frozen actor, with its critics where the agent had some.

    It stays in evaluation mode, none of its tensors takes a gradient, and nothing it computes
    keeps a graph.

    Args:
        description: the shape of the network.
        tensors: the weights, named as this module's `state_dict`.
        min_std: floor of the standard deviations, in action units before the tanh. SAC's reach
            exp(-20), and the forward KL to such a teacher would collapse the student.

    Raises:
        UserError: the tensors do not fit the description, or are not finite.
    """

    def __init__(
        self,
        description: TeacherDescription,
        tensors: Mapping[str, Tensor],
        min_std: float = MIN_STD,
    ) -> None:
        super().__init__()
        if min_std <= 0.0:
            raise UserError(f"min_std {min_std} must be above 0.")
        self.description, self.min_std = description, min_std
        # On the meta device nothing is drawn from torch's generator, and a false size in a
        # description allocates nothing.
        with torch.device("meta"):
            self._build(description)
        _check_tensors(self.state_dict(), tensors)
        self.load_state_dict(dict(tensors), assign=True)
        self.requires_grad_(False)
        self.eval()

    def _build(self, d: TeacherDescription) -> None:
        self.state_normaliser = StateNormaliser(
            d.state_dim, d.normaliser_clip, d.normaliser_epsilon
        )
        self.actor = nn.Sequential(*_hidden(d.state_dim, d.actor_layers, d.activation))
        features = (d.state_dim, *d.actor_layers)[-1]
        self.head = nn.Linear(features, d.action_dim)  # means, or logits
        if d.family == SquashedGaussian.family:
            self.log_std_head = nn.Linear(features, d.action_dim)
        elif d.family == DiagGaussian.family:
            self.log_std = nn.Parameter(torch.zeros(d.action_dim))
        critic_inputs = d.state_dim + (d.action_dim if d.value_kind == "action" else 0)
        self.critics = nn.ModuleList(
            nn.Sequential(
                *_hidden(critic_inputs, d.critic_layers, d.activation),
                nn.Linear((critic_inputs, *d.critic_layers)[-1], 1),
            )
            for _ in range(d.n_critics)
        )

    @classmethod
    def load(
        cls, folder: Path | str, device: torch.device | str = "cpu", min_std: float = MIN_STD
    ) -> Self:
        """The teacher of a bundle.

        Raises:
            UserError: the bundle is missing, damaged, or holds no teacher.
        """
        folder = Path(folder)
        tensors, data = read_bundle(folder, "teacher", device)
        description = TeacherDescription.from_json(data, folder / "teacher.json")
        try:
            return cls(description, tensors, min_std)
        except UserError as error:
            raise UserError(f"{folder}: {error}") from error

    def train(self, mode: bool = True) -> Self:
        """Stays in evaluation mode: an algorithm that trains its modules must not wake it."""
        return super().train(False)

    @property
    def device(self) -> torch.device:
        return self.state_normaliser.mean.device

    def normaliser(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the state, `(state_dim,)` float32, for students."""
        inner = self.state_normaliser
        return inner.mean.float(), (inner.var + inner.epsilon).sqrt().float()

    @torch.no_grad()
    def distribution(self, state: Tensor) -> Distribution:
        """The action distribution, in raw form, with the floor on its standard deviations.

        Args:
            state: raw, `(B, state_dim)`.
        """
        return self._distribution(self.state_normaliser(state))

    def _distribution(self, normalised: Tensor) -> Distribution:
        features = self.actor(normalised)
        output = self.head(features)
        if self.description.family == Categorical.family:
            return Categorical(output)
        floor = math.log(self.min_std)
        if self.description.family == SquashedGaussian.family:
            log_std = self.log_std_head(features).clamp(*_LOG_STD_RANGE)
            return SquashedGaussian(output, log_std.clamp(min=floor))
        return DiagGaussian(output, self.log_std.clamp(min=floor).expand_as(output))

    @torch.no_grad()
    def value(self, state: Tensor) -> Tensor | None:
        """Estimated discounted return in the task's own rewards: `(B, state_dim)` -> `(B,)`.

        PPO's critic, or the smallest Q of SAC's at the mode of its policy (so without the entropy
        bonus of that step). None if the agent had no critic.
        """
        kind = self.description.value_kind
        if kind is None:
            return None
        inputs = self.state_normaliser(state)
        if kind == "action":
            dist = self._distribution(inputs)
            inputs = torch.cat([inputs, dist.to_env_action(dist.mode())], dim=-1)
        values = torch.cat([critic(inputs) for critic in self.critics], dim=-1)  # (B, n_critics)
        return values.min(dim=-1).values * self.description.reward_scale

    @torch.no_grad()
    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, None]:
        """Actions within the environment's bounds; SB3's interface.

        Args:
            observation: raw states `(B, state_dim)` or one `(state_dim,)`, or the dictionary
                of observation groups, of which `state` is used.
        """
        states = observation["state"] if isinstance(observation, dict) else observation
        batch = torch.as_tensor(np.atleast_2d(states), device=self.device)  # (B, state_dim)
        dist = self.distribution(batch)
        raw = dist.mode() if deterministic else dist.sample()
        actions = self._within_bounds(dist.to_env_action(raw).cpu().numpy())
        return (actions[0] if np.ndim(states) == 1 else actions), None

    def _within_bounds(self, actions: np.ndarray) -> np.ndarray:
        if self.description.family == Categorical.family:
            return actions
        low = np.array(self.description.action_low, np.float32)
        high = np.array(self.description.action_high, np.float32)
        if self.description.family == SquashedGaussian.family:
            return low + 0.5 * (actions + 1.0) * (high - low)
        return np.clip(actions, low, high)

    def check_fits(self, task: str, state_space: spaces.Space, action_space: spaces.Space) -> None:
        """Refuses a teacher of another task, or of other spaces.

        Raises:
            UserError: prints both tasks, or both pairs of spaces.
        """
        d = self.description
        if d.task != task:
            raise UserError(f"This is a teacher of {d.task}; the task is {task}.")
        own_state, own_action = self._spaces()
        same_action = type(own_action) is type(action_space) and own_action.shape == (
            action_space.shape
        )
        if same_action and isinstance(own_action, spaces.Box):
            assert isinstance(action_space, spaces.Box)
            same_action = np.allclose(own_action.low, action_space.low) and np.allclose(
                own_action.high, action_space.high
            )
        elif same_action:
            same_action = own_action == action_space
        if own_state.shape != state_space.shape or not same_action:
            raise UserError(
                f"The teacher does not fit the environment.\n"
                f"  teacher:     states {own_state}, actions {own_action}\n"
                f"  environment: states {state_space}, actions {action_space}"
            )

    def _spaces(self) -> tuple[spaces.Box, spaces.Space]:
        d = self.description
        states = spaces.Box(-np.inf, np.inf, (d.state_dim,), np.float32)
        if d.family == Categorical.family:
            return states, spaces.Discrete(d.action_dim)
        low, high = np.array(d.action_low, np.float32), np.array(d.action_high, np.float32)
        return states, spaces.Box(low, high, dtype=np.float32)


def save_teacher(
    folder: Path,
    tensors: Mapping[str, Tensor],
    description: TeacherDescription,
    notes: Mapping[str, Any],
) -> None:
    """Writes a teacher's bundle.

    Args:
        notes: plain JSON for people (how it was trained, other figures); no code reads it.
    """
    data = {**notes, **vars(description), "summary": _summary(description.baselines)}
    write_bundle(folder, "teacher", tensors, data)


def record_baseline(folder: Path, policy: str, returns: Mapping[str, list[float]]) -> None:
    """Adds, or replaces, a policy's returns in a teacher's bundle; its weights stay.

    Args:
        policy: e.g. "blind".
        returns: under "validation" and "evaluation", in the order of the seeds.
    """
    tensors, data = read_bundle(folder, "teacher")
    baselines = {**data["baselines"], policy: dict(returns)}
    data = {**data, "baselines": baselines, "summary": _summary(baselines)}
    write_bundle(folder, "teacher", tensors, data)


def _summary(baselines: Baselines) -> dict[str, dict[str, dict[str, float]]]:
    """Mean, std and number of episodes of each policy on each set of seeds, for people."""
    return {
        policy: {
            name: {
                "mean": round(float(np.mean(returns)), 4),
                "std": round(float(np.std(returns)), 4),
                "episodes": len(returns),
            }
            for name, returns in by_seeds.items()
        }
        for policy, by_seeds in baselines.items()
    }


def _hidden(inputs: int, units: tuple[int, ...], activation: str) -> list[nn.Module]:
    """The hidden layers of SB3's MLPs."""
    layers: list[nn.Module] = []
    for n_in, n_out in zip((inputs, *units), units, strict=False):
        layers += [nn.Linear(n_in, n_out), activation_class(activation)()]
    return layers


def _check_tensors(expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    if expected.keys() != given.keys():
        missing = sorted(expected.keys() - given.keys())
        surplus = sorted(given.keys() - expected.keys())
        raise UserError(f"the teacher's weights lack {missing} and have {surplus} too many.")
    for name, tensor in given.items():
        want = expected[name]
        if tensor.shape != want.shape or tensor.dtype != want.dtype:
            raise UserError(
                f"the teacher's {name} is {tensor.dtype} {tuple(tensor.shape)}, "
                f"described as {want.dtype} {tuple(want.shape)}."
            )
        if not tensor.isfinite().all():
            raise UserError(f"the teacher's {name} holds NaN or infinity.")
