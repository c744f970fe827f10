"""Agents of Stable-Baselines3, from files or live, read without running their code."""
