"""Names of the families of action distributions (`Models.distributions`), without torch."""

GAUSSIAN = "gaussian"
SQUASHED_GAUSSIAN = "squashed_gaussian"
CATEGORICAL = "categorical"
MULTI_CATEGORICAL = "multi_categorical"
BERNOULLI = "bernoulli"
FAMILY_NAMES = (GAUSSIAN, SQUASHED_GAUSSIAN, CATEGORICAL, MULTI_CATEGORICAL, BERNOULLI)
