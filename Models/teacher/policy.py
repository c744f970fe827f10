"""The teacher: a frozen policy, loaded from a bundle or made from a live SB3 model.

It takes raw observations and applies its own frozen normaliser. An adapter (`Models.sb3.agent`)
converts agents of every algorithm to this one form.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor, nn

from Common.errors import UserError
from Enviroment.observations import STATE
from Models.bundle import bundle_folder, check_tensors, read_bundle
from Models.distributions import (
    Bernoulli,
    Categorical,
    DiagGaussian,
    Distribution,
    MultiCategorical,
    SquashedGaussian,
)
from Models.sb3.agent import adapt, identity_dim, own_extractors
from Models.sb3.live import live_agent
from Models.sb3.softening import Softening
from Models.sb3.vecnormalize import Normaliser, live_normaliser
from Models.teacher.bundle import record_baseline, save_teacher
from Models.teacher.description import (
    Baselines,
    ObservationGroup,
    TeacherDescription,
)
from Models.teacher.flat_state import arrays_of, check_groups, flat_statistics, split_state
from Models.teacher.limits import MEAN_MARGIN, MIN_STD
from Models.teacher.parts import (
    Encoder,
    OwnEncoder,
    OwnExtractors,
    StateNormaliser,
    hidden_layers,
    prepare,
)

__all__ = [
    "MIN_STD",
    "Baselines",
    "ObservationGroup",
    "Teacher",
    "TeacherDescription",
    "record_baseline",
    "save_teacher",
]

_LOG_STD_RANGE = (-20.0, 2.0)  # of SB3's squashed Gaussians
_SDE_EPSILON = 1e-6  # added to gSDE's variance, as in SB3


class Teacher(nn.Module):
    """A frozen actor, with critics if the agent had them.

    It always stays in evaluation mode and never computes gradients. An observation is a tensor
    `(B, *shape)` or a dictionary of tensors, from which the teacher reads its own groups. A teacher
    that was not trained on a dictionary reads `state`, or `frame` if it observes images.

    Args:
        description: the description of the network.
        tensors: the weights, named as in this module's `state_dict`.
        min_std: floor of the standard deviations, in action units before the tanh. SAC's reach
            exp(-20), and the forward KL to such a teacher would collapse the student.
        mean_margin: standard deviations by which a Gaussian's mean may exceed the action's bounds;
            None: any. Means far out of them are clipped in the environment, but dominate the KL.
        extractors: features extractors of an agent if they are not SB3's; copied.

    Raises:
        UserError: the tensors do not fit the description, or are not finite.
    """

    action_low: Tensor
    action_high: Tensor

    def __init__(
        self,
        description: TeacherDescription,
        tensors: Mapping[str, Tensor],
        min_std: float = MIN_STD,
        mean_margin: float | None = MEAN_MARGIN,
        extractors: OwnExtractors | None = None,
    ) -> None:
        super().__init__()
        if min_std <= 0.0:
            raise UserError(f"min_std {min_std} must be above 0.")
        if description.features_extractor and extractors is None:
            raise UserError(
                f"this teacher has a features extractor {description.features_extractor}, whose "
                "code is missing. Make it from its live model: Teacher.from_sb3(model)."
            )
        if mean_margin is not None and not 0.0 <= mean_margin < math.inf:
            raise UserError(f"mean_margin {mean_margin} must be at least 0, or None.")
        self.description, self.min_std, self.mean_margin = description, min_std, mean_margin
        own = copy.deepcopy(extractors)
        # The meta device draws nothing from torch's generator, and allocates nothing for a wrong
        # size in a description.
        with torch.device("meta"):
            self._build(description, own)
        check_tensors("teacher", self.state_dict(), tensors)
        self.load_state_dict(dict(tensors), assign=True)
        for name in ("action_low", "action_high"):
            bounds = torch.tensor(getattr(description, name), device=self.device)
            self.register_buffer(name, bounds, persistent=False)
        self.requires_grad_(False)
        self.eval()

    def _build(self, d: TeacherDescription, own: OwnExtractors | None) -> None:
        normalised = sum(group.size for group in d.groups if group.normalised)
        self.state_normaliser = StateNormaliser(normalised, d.normaliser_clip, d.normaliser_epsilon)
        self.encoder = Encoder(d.groups) if own is None else OwnEncoder(own.actor, d.groups)
        if own is not None and own.critic is not None:
            self.critic_encoder = OwnEncoder(own.critic, d.groups)
        elif d.has_critic_encoder:
            self.critic_encoder = Encoder(d.groups)
        described = sum(group.n_features for group in d.groups)
        n_features = described if own is None else own.n_features
        self.actor = nn.Sequential(*hidden_layers(n_features, d.actor_layers, d.activation))
        last = (n_features, *d.actor_layers)[-1]
        self.head = nn.Linear(last, d.action_dim)  # means, logits, or Q
        if d.state_dependent_std:
            self.sde_log_std = nn.Parameter(torch.zeros(last, d.action_dim))
        elif d.family == SquashedGaussian.family:
            self.log_std_head = nn.Linear(last, d.action_dim)
        elif d.family == DiagGaussian.family and d.action_std is None:
            self.log_std = nn.Parameter(torch.zeros(d.action_dim))
        critic_inputs = n_features + (d.action_dim if d.value_kind == "action" else 0)
        self.critics = nn.ModuleList(
            nn.Sequential(
                *hidden_layers(critic_inputs, d.critic_layers, d.activation),
                nn.Linear((critic_inputs, *d.critic_layers)[-1], d.n_quantiles),
            )
            for _ in range(d.n_critics)
        )

    @classmethod
    def load(
        cls,
        folder: Path | str,
        device: torch.device | str = "cpu",
        min_std: float = MIN_STD,
        mean_margin: float | None = MEAN_MARGIN,
    ) -> Self:
        """Load the teacher of a bundle, or of a run folder with a bundle in `teacher/`.

        Raises:
            UserError: the bundle is missing, damaged, or does not hold a teacher.
        """
        folder = bundle_folder(folder, "teacher")
        tensors, data = read_bundle(folder, "teacher", device)
        description = TeacherDescription.from_json(data, folder / "teacher.json")
        try:
            return cls(description, tensors, min_std, mean_margin)
        except UserError as error:
            raise UserError(f"{folder}: {error}") from error

    @classmethod
    def from_sb3(
        cls,
        model: BaseAlgorithm,
        vecnormalize: VecNormalize | None = None,
        task: str = "",
        min_std: float = MIN_STD,
        mean_margin: float | None = MEAN_MARGIN,
        softening: Softening | None = None,
    ) -> Self:
        """Return a frozen copy of a live SB3 model: training the model further does not change it.

        Args:
            vecnormalize: wrapper whose statistics normalised the model's observations; None for
                the one around the model's own environment, if any.
            task: name of the task; empty: `check_fits` compares the spaces only.
            softening: how to turn a deterministic agent into a distribution.

        Raises:
            UserError: the model has parts that are not SB3's. The message names them.
        """
        agent = live_agent(model)
        env = vecnormalize or model.get_vec_normalize_env()
        size = identity_dim(agent)
        normaliser = Normaliser.identity(size) if env is None else live_normaliser(env, size)
        tensors, network = adapt(agent, normaliser, softening or Softening())
        provenance = {"command": "", "versions": {}, "baselines": {}}
        description = TeacherDescription(**network, **provenance, task=task)
        extractors = own_extractors(agent)
        return cls(description, tensors, min_std, mean_margin, extractors).to(model.device)

    def described_as(
        self, description: TeacherDescription, tensors: Mapping[str, Tensor] | None = None
    ) -> Teacher:
        """Return a teacher with these limits and another description, on the same device.

        Args:
            tensors: other weights; None for those of this teacher.
        """
        weights = self.state_dict() if tensors is None else tensors
        limits = self.min_std, self.mean_margin
        return Teacher(description, weights, *limits, self.extractors).to(self.device)

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, even if an algorithm switches its modules to training."""
        return super().train(False)

    @property
    def device(self) -> torch.device:
        return self.state_normaliser.mean.device

    @property
    def extractors(self) -> OwnExtractors | None:
        """Features extractors of the agent if they are not SB3's, else None."""
        if not isinstance(self.encoder, OwnEncoder):
            return None
        critic = getattr(self, "critic_encoder", None)
        return OwnExtractors(self.encoder.module, None if critic is None else critic.module)

    @property
    def observation_groups(self) -> tuple[str, ...]:
        """Groups that the teacher reads from a dictionary of observations."""
        return self.description.group_names

    def normaliser(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of the state, `(state_dim,)` float32, for students.

        Raises:
            UserError: the teacher does not observe a state vector.
        """
        inner, groups = self.state_normaliser, self.description.groups
        if self.description.state_parts:
            return flat_statistics(self.description, inner)
        if [group.name for group in groups if group.normalised] != [""]:
            raise UserError(
                f"This teacher observes {self.description.observation_space}, not a state vector: "
                "it has no statistics of the state for a student."
            )
        return inner.mean.float(), (inner.var + inner.epsilon).sqrt().float()

    # -- what it computes -------------------------------------------------------------------------

    @torch.no_grad()
    def distribution(self, observation: Tensor | Mapping[str, Tensor]) -> Distribution:
        """Return the action distribution, in raw form, within `min_std` and `mean_margin`.

        TD3, DDPG: a Gaussian of fixed standard deviation around the action. DQN, QRDQN:
        softmax(Q / temperature). ARS: either, depending on its actions. gSDE: the Gaussian of one
        step, although SB3 draws its noise once for many steps.
        """
        return self._distribution(self._output(self._prepare(observation)))

    @torch.no_grad()
    def value(self, observation: Tensor | Mapping[str, Tensor]) -> Tensor | None:
        """Return the estimated discounted return in the task's own rewards, `(B,)`.

        PPO, A2C: the critic. SAC, CrossQ, TD3, DDPG: the smallest Q at the mode of the policy (so
        without SAC's entropy bonus of that step). TQC: at the mode, the mean of the quantiles
        that its training targets keep. DQN, QRDQN: the largest Q. None if there was no critic.
        """
        d = self.description
        if d.value_kind is None:
            return None
        prepared = self._prepare(observation)
        if d.value_kind == "q":
            return self._output(prepared)[0].amax(dim=-1) * d.reward_scale
        inputs = (self.critic_encoder if d.has_critic_encoder else self.encoder)(prepared)
        if d.value_kind == "action":
            mode = self._output(prepared)[0].tanh()  # in [-1, 1], the critics' input
            inputs = torch.cat([inputs, mode], dim=-1)
        values = torch.cat([critic(inputs) for critic in self.critics], dim=-1)
        if d.n_quantiles == 1:
            return values.amin(dim=-1) * d.reward_scale  # of (B, n_critics)
        kept = values.shape[-1] - d.dropped_quantiles  # of (B, n_critics * n_quantiles)
        return values.sort(dim=-1).values[:, :kept].mean(dim=-1) * d.reward_scale

    def _prepare(self, observation: Tensor | Mapping[str, Tensor]) -> list[Tensor]:
        groups, parts = self.description.groups, self.description.state_parts
        if parts:
            state = observation if isinstance(observation, Tensor) else observation[STATE]
            observation = split_state(state, groups, parts)
        elif isinstance(observation, Tensor):
            observation = {groups[0].name: observation}
        elif not groups[0].name and self.observation_groups[0] in observation:
            observation = {"": observation[self.observation_groups[0]]}
        check_groups(observation, self.description)
        return prepare(observation, groups, self.state_normaliser)

    def _output(self, prepared: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the head's output `(B, action_dim)`, and the features it is computed from."""
        features = self.actor(self.encoder(prepared))
        output, clip = self.head(features), self.description.mean_clip
        return (output if clip is None else output.clamp(-clip, clip)), features

    def _distribution(self, outputs: tuple[Tensor, Tensor]) -> Distribution:
        (output, features), d = outputs, self.description
        if d.family == Categorical.family:
            return Categorical(output if d.temperature is None else output / d.temperature)
        if d.family == MultiCategorical.family:
            return MultiCategorical.from_flat(output, d.choices)
        if d.family == Bernoulli.family:
            return Bernoulli(output)
        floor = math.log(self.min_std)
        if d.action_std is not None:
            mean = self._certain_action(output)
            std = d.action_std * (self.action_high - self.action_low) / 2
            return DiagGaussian(mean, std.log().clamp(min=floor).expand_as(mean))
        log_std = self._log_std(features).clamp(min=floor).expand_as(output)
        if d.family == SquashedGaussian.family:
            return SquashedGaussian(output, log_std)
        gaussian = DiagGaussian(output, log_std)
        if self.mean_margin is None:
            return gaussian
        return gaussian.within(self.action_low, self.action_high, self.mean_margin)

    def _log_std(self, features: Tensor) -> Tensor:
        """Return log standard deviations, `(B, action_dim)` or `(action_dim,)`, without floor."""
        if self.description.state_dependent_std:
            # Independent noise on each weight of the last layer: Raffin et al., "Smooth
            # Exploration for Robotic RL", 2021, section 3.
            variance = features.square() @ (2 * self.sde_log_std).exp()
            return 0.5 * (variance + _SDE_EPSILON).log()
        if self.description.family == SquashedGaussian.family:
            return self.log_std_head(features).clamp(*_LOG_STD_RANGE)
        return self.log_std

    def _certain_action(self, output: Tensor) -> Tensor:
        """Return the action of a deterministic agent."""
        if self.description.clips_action:
            return output.clamp(self.action_low, self.action_high)
        return self._scaled(output.tanh())

    @torch.no_grad()
    def predict(
        self,
        observation: np.ndarray | Mapping[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, None]:
        """Return actions within the environment's bounds, with SB3's interface.

        Args:
            observation: raw observations, a batch or a single one; or a dictionary of groups.
        """
        arrays, is_single = arrays_of(observation, self.description, self.observation_groups)
        batch = {
            name: torch.as_tensor(array[None] if is_single else array, device=self.device)
            for name, array in arrays.items()
        }
        dist = self._distribution(self._output(self._prepare(batch)))
        actions = self.actions(dist, deterministic)
        return (actions[0] if is_single else actions), None

    def actions(self, distribution: Distribution, deterministic: bool = True) -> np.ndarray:
        """Return actions `(B, ...)` within the environment's bounds from a distribution."""
        raw = distribution.mode() if deterministic else distribution.sample()
        actions = self._within_bounds(distribution.to_env_action(raw)).cpu().numpy()
        return actions.reshape(-1, *(self.description.action_space.shape or ()))

    def _within_bounds(self, actions: Tensor) -> Tensor:
        """Scale or clip actions `(B, action_dim)` to the bounds; keep indices `(B,)`."""
        if self.description.family == SquashedGaussian.family:
            return self._scaled(actions)
        if self.description.family == DiagGaussian.family:
            return actions.clamp(self.action_low, self.action_high)
        return actions

    def _scaled(self, actions: Tensor) -> Tensor:
        """Scale actions from [-1, 1] to the bounds."""
        return self.action_low + 0.5 * (actions + 1.0) * (self.action_high - self.action_low)

    def check_fits(
        self, task: str, observation_space: spaces.Space, action_space: spaces.Space
    ) -> None:
        """Raise UserError for another task or other spaces.

        Args:
            task: name of the task; empty if it has none.
            observation_space: space of the state, or of all groups.

        Raises:
            UserError: task or spaces differ. The message shows both.
        """
        self.description.check_fits(task, observation_space, action_space)
