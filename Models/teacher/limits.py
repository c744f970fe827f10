"""Default limits of a teacher's Gaussians, beyond which their parameters only distort the KL."""

MIN_STD = 0.05  # floor of the standard deviations, in action units before the tanh
# Standard deviations by which a mean may exceed the bounds of the actions. Environments clip
# actions, so PPO's means grow far beyond them, without an effect.
MEAN_MARGIN = 1.0
