"""SB3's PPO with its CNN, from the same frames and joints, without a teacher.

Usage: python -m benchmarks.peers.sb3_ppo [--env-steps 34560]

SB3's documentation names MultiInputPolicy for dictionaries of observations: a Nature-CNN on the
frames beside the joints. All settings are SB3's defaults but `n_steps`: 2,048 steps of each of 18
environments would be a single rollout.
"""

from __future__ import annotations

from stable_baselines3 import PPO

from benchmarks.peers.setting import (
    ROLLOUT,
    SEEN,
    Arguments,
    Clock,
    Row,
    begin,
    evaluate,
    seed_of,
    training_env,
    versioned,
)


def run(arguments: Arguments) -> Row:
    """Train and evaluate, and return the row."""
    env = training_env(arguments, SEEN)
    model = PPO("MultiInputPolicy", env, n_steps=ROLLOUT, seed=seed_of(arguments), device="cpu")
    clock = Clock()
    model.learn(arguments.env_steps)
    minutes, cpu_minutes = clock.pause()
    env.close()
    updates = model.num_timesteps // model.batch_size * model.n_epochs
    return Row(
        versioned("stable-baselines3", "SB3"),
        "PPO, MultiInputPolicy, no teacher",
        env_steps=model.num_timesteps,
        gradient_steps=updates,
        figures=evaluate(model, SEEN, arguments),
        minutes=minutes,
        cpu_minutes=cpu_minutes,
    )


if __name__ == "__main__":
    _arguments = begin(__doc__)
    run(_arguments).write(_arguments.output, "sb3_ppo")
