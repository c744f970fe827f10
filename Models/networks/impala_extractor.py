"""The IMPALA-CNN as a features extractor of SB3's, for teachers that see frames."""

from __future__ import annotations

from collections.abc import Sequence

from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor

from Common.errors import UserError
from Models.networks.cnn import ImpalaCNN
from Models.networks.impala import convolve


class ImpalaExtractor(BaseFeaturesExtractor):
    """The network of the paper's teachers on Atari and Procgen (Spigler 2025).

    As `policy_kwargs` of SB3's PPO: `{"features_extractor_class": ImpalaExtractor, "net_arch": [],
    "share_features_extractor": False}`. `Models.teacher` makes a teacher of such an agent, live or
    from its zip.

    Args:
        observation_space: images, channels first, for CnnPolicy; or for MultiInputPolicy a
            dictionary of one group, which is that.
        filters: channels of its sequences.
        features_dim: units of the fully connected layer.
        precision: of the convolutions in training, "float32" or "bfloat16". The teacher made of
            the agent computes in float32.

    Raises:
        UserError: the space is no image.
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        filters: Sequence[int] = (16, 32, 32),
        features_dim: int = 256,
        precision: str = "float32",
    ) -> None:
        super().__init__(observation_space, features_dim)
        self.precision = precision
        self._group, image = _only_image(observation_space)
        self.cnn = ImpalaCNN(image.shape, tuple(filters), features_dim)

    def forward(self, observations: Tensor | dict[str, Tensor]) -> Tensor:
        """Images in [0, 1], `(B, C, H, W)` -> `(B, features_dim)`."""
        images = observations if isinstance(observations, Tensor) else observations[self._group]
        x = convolve(images, self.cnn.convolve, self.precision, white=1.0)
        return self.cnn.linear(x.flatten(1))  # (B, C, h, w) -> (B, C * h * w)


def _only_image(space: spaces.Space) -> tuple[str, spaces.Box]:
    """The group's name, empty without a dictionary, and its space."""
    groups = space.spaces if isinstance(space, spaces.Dict) else {"": space}
    (name, image), *others = groups.items()
    if others or not isinstance(image, spaces.Box) or len(image.shape) != 3:
        raise UserError(
            f"An IMPALA-CNN sees images and nothing else, not {space}. Give it an environment "
            "whose observations are images, or a dictionary with one group of them."
        )
    return name, image
