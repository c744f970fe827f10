"""The IMPALA-CNN as a features extractor of SB3, for teachers that observe frames."""

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

    Pass `policy_kwargs` to SB3's PPO: `{"features_extractor_class": ImpalaExtractor, "net_arch":
    [], "share_features_extractor": False}`. `Models.teacher` converts such an agent, live or from
    its zip, to a teacher.

    Args:
        observation_space: images, channels first, for CnnPolicy; or a dictionary with one group of
            images for MultiInputPolicy.
        filters: channels of its sequences.
        features_dim: units of the fully connected layer.
        precision: precision of the convolutions in training, "float32" or "bfloat16". The
            converted teacher computes in float32.

    Raises:
        UserError: the space is not an image.
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
        """Map images in [0, 1], `(B, C, H, W)`, to `(B, features_dim)`."""
        images = observations if isinstance(observations, Tensor) else observations[self._group]
        x = convolve(images, self.cnn.convolve, self.precision, white=1.0)
        return self.cnn.linear(x.flatten(1))  # (B, C, h, w) -> (B, C * h * w)


def _only_image(space: spaces.Space) -> tuple[str, spaces.Box]:
    """Return the group's name, empty without a dictionary, and its space."""
    groups = space.spaces if isinstance(space, spaces.Dict) else {"": space}
    (name, image), *others = groups.items()
    if others or not isinstance(image, spaces.Box) or len(image.shape) != 3:
        raise UserError(
            f"An IMPALA-CNN needs images, not {space}. Use an environment whose observations are "
            "images, or a dictionary with one group of images."
        )
    return name, image
