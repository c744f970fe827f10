"""The description of a teacher without its tensors: `teacher.json`."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space

from Common.errors import UserError
from Common.files.typed_json import typed_fields
from Common.names import counted
from Enviroment.observations import FRAME, STATE
from Models.distributions import (
    FAMILIES,
    Bernoulli,
    Categorical,
    DiagGaussian,
    MultiCategorical,
    SquashedGaussian,
)
from Models.networks.layers import activation_class
from Models.networks.limits import check_layers

_VALUE_KINDS = ("state", "action", "q", None)
# Upper bounds for any teacher or student; a wrong number would build networks for hours.
MAX_SIZE = 2**24
_MAX_CRITICS, _MAX_GROUPS, _MAX_FILTERS, _MAX_CHOICES = 256, 256, 16, 2**16
# Fields about the origin, the returns and the place of observations, which do not change how it
# acts.
_NEUTRAL = frozenset(
    {
        *("task", "algo", "command", "versions", "baselines", "successes"),
        *("imitability", "state_parts", "flat_dim", "rules"),
    }
)
_MAX_BOUND = float(np.finfo(np.float32).max)
_BOUNDED = (DiagGaussian.family, SquashedGaussian.family)

Baselines = dict[str, dict[str, list[float]]]  # policy -> seeds' name -> return of each seed


def _check_choices(choices: tuple[int, ...]) -> None:
    known = all(type(n) is int and n > 0 for n in choices)
    if not known or sum(choices) > _MAX_CHOICES:
        raise UserError(f"choices {choices!s:.80} must be above 0, at most {_MAX_CHOICES} in all.")


@dataclass(frozen=True)
class ObservationGroup:
    """One group of a dictionary of observations, or an observation that is not a dictionary."""

    name: str  # "": the observation is not a dictionary
    shape: tuple[int, ...]
    choices: tuple[int, ...] = ()  # of discrete values, which become one-hot
    is_image: bool = False  # uint8, divided by 255 unless `raw_pixels`
    cnn_features: int = 0  # outputs of its CNN; 0: it is flattened
    normalised: bool = False  # by the teacher's own statistics
    cnn_filters: tuple[int, ...] = ()  # of an IMPALA-CNN's sequences; empty: a Nature-CNN
    raw_pixels: bool = False  # of an image: not divided by 255
    # Number of stacked states, oldest first, all normalised by the same statistics. Zero states
    # before the first one of an episode stay zero, as in a VecFrameStack around a VecNormalize.
    stack: int = 1

    def __post_init__(self) -> None:
        sizes = (*self.shape, *self.choices, *self.cnn_filters, self.stack)
        if not all(type(size) is int and size > 0 for size in sizes):
            raise UserError(f"observation {self.name!r}: its sizes {sizes} must be above 0.")
        check_layers(
            self.cnn_filters[:_MAX_FILTERS], (self.cnn_features,) * bool(self.cnn_features)
        )
        _check_choices(self.choices)
        if len(self.shape) > 8 or self.size > MAX_SIZE or len(self.cnn_filters) > _MAX_FILTERS:
            raise UserError(f"observation {self.name!r}: {self.shape} is too large.")
        if self.choices and len(self.choices) != self.size:
            raise UserError(f"observation {self.name!r}: {self.size} numbers need as many choices.")
        if self.cnn_features and (len(self.shape) != 3 or self.cnn_features < 0):
            raise UserError(f"observation {self.name!r}: {self.shape} is not an image for a CNN.")
        if self.size % self.stack:
            raise UserError(f"observation {self.name!r}: {self.shape} is not {self.stack} states.")

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def n_features(self) -> int:
        """Number of features passed to the layers."""
        return self.cnn_features or sum(self.choices) or self.size

    @property
    def space(self) -> spaces.Space:
        """The space without bounds, which networks do not use."""
        if self.choices and self.shape:
            return spaces.MultiDiscrete(list(self.choices))
        if self.choices:
            return spaces.Discrete(self.choices[0])
        if self.is_image:
            return spaces.Box(0, 255, self.shape, np.uint8)
        return spaces.Box(-np.inf, np.inf, self.shape, np.float32)

    def accepts(self, space: spaces.Space) -> bool:
        """Return whether observations of `space` fit this group."""
        if self.choices:
            return space == self.space
        # A VecNormalize that normalises images makes them floats; teachers do that themselves.
        same_kind = self.normalised or is_image_space(space) == self.is_image
        return space.shape == self.shape and same_kind


@dataclass(frozen=True)
class StatePart:
    """Where a group of the observation is in a flattened state."""

    first: int  # index in the state
    channels_last: bool = False  # of an image, whose group has its channels first


@dataclass(frozen=True)
class Imitability:
    """The figures of a student that was cloned with a small, fixed budget."""

    student: str  # mode of its network
    env_steps: int  # of the teacher, cloned
    gradient_steps: int
    batch_size: int
    episodes: int  # that the student played, on the first evaluation seeds
    processor: str  # others round otherwise
    mean_return: float
    skill: float | None = None  # None: the bundle has no return of a blind student
    ratio: float | None = None  # to the teacher's return; None: one of them is not above 0
    success: float | None = None  # share of the episodes; None: not reported

    def __str__(self) -> str:
        figures = [f"return {self.mean_return:.2f}"]
        figures += [
            f"{name} {value:.3f}"
            for name, value in (("skill", self.skill), ("ratio", self.ratio))
            if value is not None
        ]
        if self.success is not None:
            figures.append(f"success {self.success:.0%}")
        return (
            f"{', '.join(figures)} ({self.student}: {self.env_steps:,} env steps, "
            f"{self.gradient_steps:,} gradient steps of {self.batch_size}; "
            f"{counted(self.episodes, 'unseen seed')}; {self.processor})"
        )


@dataclass(frozen=True)
class TeacherDescription:
    """Everything about a teacher except its tensors, as stored in `teacher.json`."""

    task: str  # empty: of an environment outside the registry
    algo: str
    family: str  # a key of Models.distributions.FAMILIES
    state_dim: int  # size of an observation
    action_dim: int  # size of an action; discrete: number of choices, of all actions together
    action_low: tuple[float, ...]  # bounds of the environment's actions; empty: discrete
    action_high: tuple[float, ...]
    actor_layers: tuple[int, ...]  # units of the hidden layers
    critic_layers: tuple[int, ...]
    n_critics: int
    # Input of a critic: the "state", or state and "action". "q": the actor itself is a critic.
    value_kind: str | None
    activation: str
    normaliser_clip: float | None  # standard deviations; None: not clipped
    normaliser_epsilon: float  # added to the variance
    reward_scale: float  # raw rewards divided by the rewards of the critics' training
    gamma: float  # discount
    command: str  # the command that made it
    versions: dict[str, str]  # of the packages that made it
    baselines: Baselines  # e.g. baselines["random"]["evaluation"]
    sha256: str = ""  # of the weights; empty until the bundle is written
    # Older bundles lack the following fields, and have the defaults.
    observation: tuple[ObservationGroup, ...] = ()  # empty: a normalised vector of state_dim
    action_shape: tuple[int, ...] = ()  # empty: a vector
    choices: tuple[int, ...] = ()  # of each action, if there are several discrete ones
    action_std: float | None = None  # TD3, DDPG, ARS: fixed std, in half widths of the bounds
    temperature: float | None = None  # DQN, QRDQN, ARS: divides Q or scores to give logits
    n_quantiles: int = 1  # outputs of a critic
    dropped_quantiles: int = 0  # number of largest quantiles to drop, of all critics together
    has_critic_encoder: bool = False  # the critics have their own CNN
    corruption_sigma: float = 0.0  # standard deviation of the noise on every parameter
    corruption_seed: int | None = None
    state_dependent_std: bool = False  # gSDE: deviations follow from the actor's features
    mean_clip: float | None = None  # SAC, TQC with gSDE: bound of the mean before the tanh
    clips_action: bool = False  # ARS: the action is clipped to the bounds instead of a tanh
    features_extractor: str = ""  # a user's own class, which a bundle cannot hold
    # As `baselines`, 1.0 where the episode succeeded; empty if success is not reported.
    successes: Baselines = field(default_factory=dict)
    imitability: Imitability | None = None  # None: not measured
    # Of each group, if the teacher reads the flattened state of its environment (see `adoption`).
    state_parts: tuple[StatePart, ...] = ()
    flat_dim: int = 0  # size of that state
    # Arguments, wrappers and time limit of its own environment (see `Enviroment.custom.rules_of`).
    rules: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        activation_class(self.activation)
        check_layers(self.actor_layers, self.critic_layers)
        sizes = (self.state_dim, self.action_dim, self.n_quantiles)
        if not all(type(size) is int and 0 < size <= MAX_SIZE for size in sizes):
            raise UserError(f"the sizes {sizes} must be whole, above 0 and up to {MAX_SIZE}.")
        if max(self.action_dim, self.n_quantiles) > _MAX_CHOICES:
            raise UserError(f"{self.action_dim} actions, {self.n_quantiles} quantiles: too many.")
        if not 0 <= self.n_critics <= _MAX_CRITICS or len(self.observation) > _MAX_GROUPS:
            raise UserError(f"{self.n_critics} critics, {len(self.observation)} groups: too many.")
        _check_choices(self.choices)
        if self.family not in FAMILIES:
            raise UserError(
                f"Action distribution {self.family!r} is not one of {', '.join(FAMILIES)}."
            )
        if self.value_kind not in _VALUE_KINDS:
            raise UserError(f"value_kind {self.value_kind!r} is not one of {_VALUE_KINDS}.")
        n_bounds = self.action_dim if self.family in _BOUNDED else 0
        if not len(self.action_low) == len(self.action_high) == n_bounds:
            raise UserError(f"{self.action_dim} actions need as many low and high bounds.")
        bounds = zip(self.action_low, self.action_high, strict=True)
        if not all(-_MAX_BOUND <= low <= high <= _MAX_BOUND for low, high in bounds):
            raise UserError("the actions' low bounds must not be above the high ones.")
        if not all(type(n) is int and n > 0 for n in self.action_shape):
            raise UserError(f"actions {self.action_shape}: sizes must be above 0.")
        if self.action_shape and math.prod(self.action_shape) != self.action_dim:
            raise UserError(f"actions {self.action_shape} are not {self.action_dim} numbers.")
        scalars = (self.normaliser_clip or 0.0, self.normaliser_epsilon, self.reward_scale)
        numbers = (*scalars, self.gamma, *self.action_low, *self.action_high)
        if not all(math.isfinite(number) for number in numbers):
            raise UserError(f"one of {numbers} is not finite.")
        if self.normaliser_epsilon < 0 or (self.normaliser_clip or 1.0) <= 0:
            raise UserError("the normaliser's epsilon and clip must not be below 0.")
        self._check_family()

    def _check_family(self) -> None:
        several = self.family == MultiCategorical.family
        if several != bool(self.choices) or (several and sum(self.choices) != self.action_dim):
            raise UserError(f"{self.action_dim} logits are not those of choices {self.choices}.")
        for name, family in (
            ("action_std", DiagGaussian.family),
            ("temperature", Categorical.family),
        ):
            value = getattr(self, name)
            if value is not None and not (0 < value < math.inf and self.family == family):
                raise UserError(f"{name} {value} must be above 0, and is only for {family}.")
        gaussian = self.family in _BOUNDED and self.action_std is None
        if self.state_dependent_std and not gaussian:
            raise UserError(f"state-dependent deviations are not for {self.family}.")
        if self.mean_clip is not None and not 0 < self.mean_clip < math.inf:
            raise UserError(f"mean_clip {self.mean_clip} must be above 0.")
        if self.clips_action and self.action_std is None:
            raise UserError("clips_action needs an action_std.")
        if self.value_kind == "action" and not (
            self.family == SquashedGaussian.family or self.action_std
        ):
            raise UserError(f"critics of an action in [-1, 1] are not for {self.family}.")
        if self.value_kind == "q" and self.family != Categorical.family:
            raise UserError(f"Q of every action is not for {self.family}.")
        if not 0 <= self.dropped_quantiles < max(1, self.n_critics * self.n_quantiles):
            raise UserError(f"{self.dropped_quantiles} dropped quantiles leave none.")

    @property
    def groups(self) -> tuple[ObservationGroup, ...]:
        """Groups of the observation; a single one without a name if it is not a dictionary."""
        return self.observation or (ObservationGroup("", shape=(self.state_dim,), normalised=True),)

    @property
    def observation_space(self) -> spaces.Space:
        """Observation space of the teacher, without bounds."""
        if self.state_parts:
            return spaces.Box(-np.inf, np.inf, (self.flat_dim,), np.float32)
        if self.groups[0].name:
            return spaces.Dict([(group.name, group.space) for group in self.groups])
        return self.groups[0].space

    @property
    def action_space(self) -> spaces.Space:
        """Action space of the teacher."""
        if self.family == Categorical.family:
            return spaces.Discrete(self.action_dim)
        if self.family == MultiCategorical.family:
            return spaces.MultiDiscrete(list(self.choices))
        if self.family == Bernoulli.family:
            return spaces.MultiBinary(self.action_dim)
        shape = self.action_shape or (self.action_dim,)
        low, high = (
            np.array(bound, np.float32).reshape(shape)
            for bound in (self.action_low, self.action_high)
        )
        return spaces.Box(low, high, dtype=np.float32)

    @property
    def group_names(self) -> tuple[str, ...]:
        """Groups that the teacher reads from a dictionary of observations.

        A group without a name is `state`, or `frame` if it is an image.
        """
        if self.state_parts:
            return (STATE,)
        return tuple(
            group.name or (FRAME if group.is_image or group.cnn_features else STATE)
            for group in self.groups
        )

    @property
    def identity(self) -> str:
        """SHA-256 of everything that decides the teacher's actions and values.

        These are the weights, the network, the normaliser, the distribution and the noise.
        """
        # Fields with their defaults are left out, so that new fields do not change the identity.
        values = {
            own.name: value
            for own in fields(self)
            if own.name not in _NEUTRAL and (value := getattr(self, own.name)) != own.default
        }
        groups = [asdict(group) for group in self.observation]
        return _sha256({**values, "observation": groups})

    @property
    def baselines_sha256(self) -> str:
        """SHA-256 of the returns from which skill is computed."""
        return _sha256(self.baselines)

    def check_fits(
        self, task: str, observation_space: spaces.Space, action_space: spaces.Space
    ) -> None:
        """Raise UserError for another task or other spaces (see `Teacher.check_fits`)."""
        if self.task and self.task != task:
            raise UserError(f"This is a teacher of {self.task}; the task is {task}.")
        self.check_spaces(observation_space, action_space)

    def check_spaces(self, observation_space: spaces.Space, action_space: spaces.Space) -> None:
        """Raise UserError for other spaces. The message shows both pairs."""
        if not (self._reads(observation_space) and self._acts_in(action_space)):
            raise UserError(
                f"The teacher does not fit the environment.\n"
                f"  teacher:     states {self.observation_space}, actions {self.action_space}\n"
                f"  environment: states {observation_space}, actions {action_space}"
            )

    def _reads(self, space: spaces.Space) -> bool:
        if self.state_parts:
            inner = space.spaces.get(STATE) if isinstance(space, spaces.Dict) else space
            return inner is not None and inner.shape == (self.flat_dim,)
        if not isinstance(space, spaces.Dict):
            return not self.groups[0].name and self.groups[0].accepts(space)
        return all(
            name in space.spaces and group.accepts(space[name])
            for name, group in zip(self.group_names, self.groups, strict=True)
        )

    def _acts_in(self, space: spaces.Space) -> bool:
        own = self.action_space
        if not (isinstance(own, spaces.Box) and isinstance(space, spaces.Box)):
            return own == space
        return own.shape == space.shape and bool(
            np.allclose(own.low, space.low) and np.allclose(own.high, space.high)
        )

    @classmethod
    def from_json(cls, data: Mapping[str, Any], source: Path) -> Self:
        """Return the description in `source`. Ignore further keys, which are for people.

        Raises:
            UserError: a key is missing or invalid.
        """
        known = [own.name for own in fields(cls)]
        optional = known[known.index("sha256") :]
        try:
            given = {name: data[name] for name in known if name in data or name not in optional}
            return cls(**typed_fields(cls, given))
        except KeyError as error:
            raise UserError(f"{source} lacks {error}, which a teacher needs.") from error
        except (UserError, TypeError, ValueError, ArithmeticError) as error:
            raise UserError(f"{source} is not a valid teacher: {error}") from error


def _sha256(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
