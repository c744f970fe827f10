"""The student: an SB3 policy of frames, with or without proprioception, or of the state."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from stable_baselines3.common.utils import get_device
from torch import Tensor, nn

from Common.device import fastest_precision, precision_on
from Common.errors import UserError
from Enviroment.observations import FRAME, PROPRIO, STATE
from Models.adam import FUSED_ADAM
from Models.distributions import (
    Bernoulli,
    Categorical,
    DiagGaussian,
    Distribution,
    MultiCategorical,
    SquashedGaussian,
)
from Models.networks.backbone import BACKBONE, backbone_of
from Models.networks.encoders import is_own
from Models.networks.layers import activation_class, mlp
from Models.networks.per_camera import make_encoder
from Models.networks.recurrent import GatedMemory, Past
from Models.student.config import LOG_STD_RANGE, MODES, StudentConfig
from Models.student.normaliser import FrozenNormaliser
from Models.student.spaces import dict_space, narrow, settled_config, size, vector_sizes

__all__ = ["MODES", "StudentConfig", "StudentPolicy"]


class StudentPolicy(ActorCriticPolicy):
    """An actor and a critic head on shared features, behind SB3's policy interface.

    `predict`, `save`, `load`, SB3's `evaluate_policy` and PPO work on it. Observations may hold
    more groups than the student reads; the others are ignored.

    For a squashed Gaussian, SB3's "actions" are in [-1, 1] and `predict` scales them to the
    bounds. The actor of a Gaussian outputs state-dependent standard deviations, as in SAC, or has
    them as a parameter, as in PPO; that of discrete actions outputs logits, those of the first
    action first.

    Args:
        observation_space: at least the groups that `config` needs.
        action_space: `Box` for the Gaussians, `Discrete`, `MultiDiscrete` or `MultiBinary` for
            categorical, multi_categorical or bernoulli.
        config: the network; None: that of frames, and of joints if there are any.
        group_mean, group_std: fixed statistics of the vector groups (`proprio`, `state`);
            0 and 1 for missing groups.

    Raises:
        UserError: a group is missing, or the family does not fit the actions.
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        lr_schedule: Schedule,
        use_sde: bool = False,
        config: StudentConfig | None = None,
        group_mean: dict[str, list[float]] | None = None,
        group_std: dict[str, list[float]] | None = None,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
    ) -> None:
        self.config = settled_config(config, observation_space, action_space)
        if use_sde:
            raise UserError("The student samples from its own distribution: leave out use_sde.")
        if optimizer_kwargs is None and optimizer_class is torch.optim.Adam:
            optimizer_kwargs = dict(FUSED_ADAM)
        self.group_mean, self.group_std = group_mean or {}, group_std or {}
        full = dict_space(observation_space)
        self.state_space = full.spaces.get(STATE) if self.config.critic_on_state else None
        if self.config.critic_on_state and self.state_space is None:
            raise UserError("A critic on the state needs the observation group `state`.")
        super().__init__(
            narrow(full, self.config.groups),
            action_space,
            lr_schedule,
            optimizer_class=optimizer_class,
            optimizer_kwargs=optimizer_kwargs,
            normalize_images=False,
        )

    def _build(self, lr_schedule: Schedule) -> None:
        """Build the networks. SB3's constructor calls this instead of its own method."""
        sizes = vector_sizes(self.observation_space)
        # Replace SB3's extractors for arbitrary dictionaries by our own.
        del self.features_extractor, self.pi_features_extractor, self.vf_features_extractor
        self.normalisers = nn.ModuleDict({g: self._normaliser(g, n) for g, n in sizes.items()})
        features_dim = sizes[STATE] if self.config.mode == "State" else self._build_encoder(sizes)
        config = self.config
        if config.is_recurrent:
            self.memory = GatedMemory(features_dim, config.recurrent_units)
            # Besides the features: what is seen now needs no detour through the memory.
            features_dim += config.recurrent_units
        self.actor = mlp(
            features_dim, config.head, self._n_action_params(), config.activation, last_gain=0.01
        )
        if isinstance(self.action_space, spaces.Box) and not config.std_by_state:
            n_actions = size(self.action_space)
            self.log_std = nn.Parameter(torch.full((n_actions,), config.init_log_std))
        critic_dim = features_dim
        if self.state_space is not None:
            critic_dim = size(self.state_space)
            self.critic_normaliser = self._normaliser(STATE, critic_dim)
        hidden = config.head if config.critic_head is None else config.critic_head
        activation = config.critic_activation or config.activation
        self.critic = mlp(critic_dim, hidden, 1, activation, last_gain=1.0)
        self.make_optimizer(lr_schedule(1))  # pyright: ignore[reportCallIssue]

    def _build_encoder(self, sizes: dict[str, int]) -> int:
        """Build the encoder of frames and proprioception; return the number of features."""
        # Resolved once, so that the bundle records the precision of training.
        self.config = config = computed_on(self.config, get_device("auto"))
        frame = self.observation_space[FRAME]  # pyright: ignore[reportIndexIssue]
        self.encoder = make_encoder(config.mode, frame.shape, config.encoder)
        if config.backbone_sha256:
            backbone_of(self.encoder, config.mode).eval().requires_grad_(False)
        if config.separate_critic:
            self.critic_encoder = make_encoder(config.mode, frame.shape, config.encoder)
        if not config.proprio_features:
            return self.encoder.features_dim
        self.proprio_net = nn.Sequential(
            nn.Linear(sizes[PROPRIO], config.proprio_features),
            activation_class(config.activation)(),
        )
        return self.encoder.features_dim + config.proprio_features

    def make_optimizer(self, learning_rate: float) -> None:
        """Make a new optimizer of all parameters that are trained, without moments."""
        self.optimizer = self.optimizer_class(
            self.trained_parameters(),
            lr=learning_rate,  # pyright: ignore[reportCallIssue]
            **self.optimizer_kwargs,
        )

    def _normaliser(self, group: str, size: int) -> FrozenNormaliser:
        return FrozenNormaliser(
            np.asarray(self.group_mean.get(group, np.zeros(size))),
            np.asarray(self.group_std.get(group, np.ones(size))),
        )

    def _n_action_params(self) -> int:
        space = self.action_space
        if isinstance(space, spaces.Discrete):
            return int(space.n)
        if isinstance(space, spaces.MultiDiscrete):
            return int(space.nvec.sum())
        with_std = isinstance(space, spaces.Box) and self.config.std_by_state
        return size(space) * (2 if with_std else 1)

    @property
    def precision(self) -> str:
        """Precision of the convolutions on this device."""
        return precision_on(self.device, self.config.precision)

    # -- what the algorithms call -------------------------------------------------------------

    def trained_parameters(self) -> list[nn.Parameter]:
        """Return all parameters, except those of a frozen backbone."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.config.backbone_sha256:  # statistics of batches stay as they were pretrained
            backbone_of(self.encoder, self.config.mode).eval()
        return self

    def critic_modules(self) -> dict[str, nn.Module]:
        """Return the networks used for values only, by name, without shared features."""
        names = ("critic", "critic_encoder") if self.config.separate_critic else ("critic",)
        return {name: getattr(self, name) for name in names}

    def features(self, obs: dict[str, Tensor]) -> Tensor:
        """Return the features of the observations, `(B, features_dim)` float32."""
        if self.config.mode == "State":
            return self.normalisers[STATE](obs[STATE])
        if not self.config.proprio_features:
            return self.encoder(obs[FRAME])
        proprio = self.proprio_net(self.normalisers[PROPRIO](obs[PROPRIO]))
        return torch.cat([self.encoder(obs[FRAME]), proprio], dim=-1)

    def recalled(self, obs: dict[str, Tensor], past: Past) -> tuple[Tensor, Tensor]:
        """Return what a recurrent student's heads see, and its hidden states at the end.

        Args:
            obs: `(T * S, ...)`, in the order of `Past`.
            past: the memory before these observations.

        Returns:
            features and memory `(T * S, features_dim + units)`, and `(S, units)`.
        """
        features = self.features(obs)
        states, hidden = self.memory(features, past)
        return torch.cat([features, states], dim=-1), hidden

    def _heads_input(self, obs: dict[str, Tensor], past: Past | None) -> Tensor:
        if not self.config.is_recurrent:
            return self.features(obs)
        if past is None:
            raise UserError(
                "A recurrent student needs the past of its observations. Call `predict` with its "
                "state, or use an algorithm that keeps one."
            )
        return self.recalled(obs, past)[0]

    def distribution(self, obs: dict[str, Tensor], past: Past | None = None) -> Distribution:
        """Return the action distribution, in raw form (`Models.distributions`).

        Args:
            past: of a recurrent student; the order of the observations is that of `Past`.
        """
        return self._distribution(self._heads_input(obs, past))

    def distribution_and_value(
        self, obs: dict[str, Tensor], past: Past | None = None
    ) -> tuple[Distribution, Tensor]:
        """Return the action distribution and the values `(B,)` from one forward pass."""
        features = self._heads_input(obs, past)
        return self._distribution(features), self._values(features, obs)

    def advance(self, obs: dict[str, Tensor], past: Past) -> tuple[Distribution, Tensor]:
        """Return distributions of a recurrent student, and the hidden states at the end."""
        features, hidden = self.recalled(obs, past)
        return self._distribution(features), hidden

    def step(self, obs: dict[str, Tensor], hidden: Tensor) -> tuple[Distribution, Tensor]:
        """Return what `advance` does for one step of episodes that go on, without a `Past`."""
        features = self.features(obs)
        hidden = self.memory.step(features, hidden)
        return self._distribution(torch.cat([features, hidden], dim=-1)), hidden

    def advance_with_values(
        self, obs: dict[str, Tensor], past: Past
    ) -> tuple[Distribution, Tensor, Tensor]:
        """Return distributions, values and the hidden states at the end, see `advance`."""
        features, hidden = self.recalled(obs, past)
        return self._distribution(features), self._values(features, obs), hidden

    def _distribution(self, features: Tensor) -> Distribution:
        params, family, space = self.actor(features), self.config.family, self.action_space
        if isinstance(space, spaces.MultiDiscrete):
            return MultiCategorical.from_flat(params, tuple(space.nvec.tolist()))
        if not isinstance(space, spaces.Box):
            return (Categorical if family == Categorical.family else Bernoulli)(params)
        if self.config.std_by_state:
            mean, log_std = params.chunk(2, dim=-1)  # (B, 2A) -> (B, A), (B, A)
            log_std = log_std + self.config.init_log_std
        else:
            mean, log_std = params, self.log_std.expand_as(params)  # (B, A), (A,) -> (B, A)
        log_std = log_std.clamp(*LOG_STD_RANGE)
        return (SquashedGaussian if self.squash_output else DiagGaussian)(mean, log_std)

    def _values(self, features: Tensor, obs: dict[str, Tensor]) -> Tensor:
        own = self._own_critic_features(obs)
        return self.critic(features if own is None else own).squeeze(-1)

    def _own_critic_features(self, obs: dict[str, Tensor]) -> Tensor | None:
        """Return the critic's own features; None if it shares the actor's."""
        if self.state_space is not None:
            return self.critic_normaliser(obs[STATE])
        return self.critic_encoder(obs[FRAME]) if self.config.separate_critic else None

    # -- SB3's policy interface -----------------------------------------------------------------

    @property
    def squash_output(self) -> bool:
        return self.config.family == SquashedGaussian.family

    def obs_to_tensor(self, observation: Any) -> tuple[PyTorchObs, bool]:
        if isinstance(observation, dict):
            observation = {group: observation[group] for group in self.observation_space.spaces}  # pyright: ignore[reportAttributeAccessIssue]
        return super().obs_to_tensor(observation)

    def forward(
        self, obs: dict[str, Tensor], deterministic: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return actions, values `(B, 1)` and log-probabilities `(B,)` for SB3's collection."""
        dist, values = self.distribution_and_value(obs)
        raw = dist.mode() if deterministic else dist.sample()
        return dist.to_env_action(raw), values.unsqueeze(-1), dist.log_prob(raw)

    def evaluate_actions(
        self, obs: dict[str, Tensor], actions: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return values, log-probabilities and entropy for SB3's update.

        Squashed actions are inverted, so saturated ones are approximate. The algorithms of this
        toolkit store raw actions instead.
        """
        dist, values = self.distribution_and_value(obs)
        raw = torch.atanh(actions.clamp(-1 + 1e-6, 1 - 1e-6)) if self.squash_output else actions
        return values.unsqueeze(-1), dist.log_prob(raw), dist.entropy()

    def predict_values(self, obs: dict[str, Tensor], past: Past | None = None) -> Tensor:
        """Return the values `(B, 1)`."""
        own = self._own_critic_features(obs)
        return self.critic(self._heads_input(obs, past) if own is None else own)

    def predict(
        self,
        observation: Any,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Return actions for the environment, and the state for the next call, as SB3 does.

        Args:
            state: of a recurrent student its hidden states, `((B, units),)`; None: episodes begin.
            episode_start: `(B,)`, where an episode begins, whose state is not used.
        """
        if not self.config.is_recurrent:
            return super().predict(observation, state, episode_start, deterministic)
        self._given = state, episode_start  # for `_predict`, which SB3's method calls
        actions, _ = super().predict(observation, None, None, deterministic)
        return actions, (self._hidden.cpu().numpy(),)

    def _predict(self, observation: Any, deterministic: bool = False) -> Tensor:
        if self.config.is_recurrent:
            past = self._past_of(len(next(iter(observation.values()))), *self._given)
            dist, self._hidden = self.advance(observation, past)
        else:
            dist = self.distribution(observation)
        return dist.to_env_action(dist.mode() if deterministic else dist.sample())

    def _past_of(
        self, n: int, state: tuple[np.ndarray, ...] | None, begins: np.ndarray | None
    ) -> Past:
        """Return the past of one step of `n` environments, from the arguments of `predict`."""
        hidden = self.memory.blank(n)
        if state is not None:
            hidden = torch.as_tensor(state[0], device=hidden.device).view_as(hidden)
        return Past.of_step(hidden, np.zeros(n, bool) if begins is None else begins)

    def get_distribution(self, obs: Any) -> Any:
        raise NotImplementedError("Use `distribution`, which has an exact KL.")

    def all_groups(self) -> spaces.Dict:
        """Return the groups of the student, and the state if its critic observes it."""
        groups = dict(dict_space(self.observation_space).spaces)
        if self.state_space is not None:
            groups[STATE] = self.state_space
        return spaces.Dict(groups)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            "observation_space": self.all_groups(),
            "action_space": self.action_space,
            "lr_schedule": self._dummy_schedule,
            "config": self.config,
            "group_mean": self.group_mean,
            "group_std": self.group_std,
            "optimizer_class": self.optimizer_class,
            "optimizer_kwargs": self.optimizer_kwargs,
        }


def computed_on(config: StudentConfig, device: torch.device) -> StudentConfig:
    """Return the configuration with precision `auto` resolved to the fastest on the device.

    A student of the state has no convolutions, and its configuration is returned unchanged.
    """
    if is_own(config.mode):  # computes as its class says
        return replace(config, precision="float32")
    if config.precision != "auto" or config.mode == "State":
        return config
    return replace(config, precision=fastest_precision(device))


def trained_state(policy: nn.Module) -> dict[str, Tensor]:
    """Return the `state_dict` without a frozen backbone, whose file is known by its hash."""
    is_frozen = isinstance(policy, StudentPolicy) and policy.config.backbone_sha256
    state = policy.state_dict()
    return {n: t for n, t in state.items() if not (is_frozen and n.startswith(BACKBONE))}


def load_trained_state(policy: nn.Module, state: dict[str, Tensor]) -> None:
    """Load a state of `trained_state`. A frozen backbone stays as it is.

    Raises:
        RuntimeError: the state is of another network.
    """
    whole = policy.state_dict()
    frozen = {name: whole[name] for name in whole.keys() - trained_state(policy).keys()}
    policy.load_state_dict({**state, **frozen})
