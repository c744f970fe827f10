"""Read agents of Stable-Baselines3, from files or live, without running their code."""
