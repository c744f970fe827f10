"""DAgger of `imitation`, from frames alone.

Usage: python -m benchmarks.peers.imitation_dagger [--env-steps 34560]

`SimpleDAggerTrainer` with its defaults: a round ends with the first episodes that make 500 env
steps, BC goes on for 4 epochs over all rounds so far, and the teacher's share falls over 15 rounds.
Its collector takes arrays only, no dictionaries, and its expert must observe what the student
observes. So the student here sees the frames without the joints, by SB3's CnnPolicy, and the
teacher is a policy of these frames that reads the state from the environments (`LiveTeacher`).
"""

from __future__ import annotations

import tempfile

import datasets  # pyright: ignore[reportMissingImports]
import numpy as np
import torch
from imitation.algorithms import bc  # pyright: ignore[reportMissingImports]
from imitation.algorithms.dagger import (  # pyright: ignore[reportMissingImports]
    SimpleDAggerTrainer,
)
from stable_baselines3.common.policies import ActorCriticCnnPolicy
from stable_baselines3.common.utils import set_random_seed

from benchmarks.peers.setting import (
    N_ENVS,
    Arguments,
    Clock,
    LiveTeacher,
    Row,
    begin,
    evaluate,
    seed_of,
    training_env,
    versioned,
)
from Enviroment.observations import FRAME

_EPISODE = 100  # env steps, by the time limit


def run(arguments: Arguments) -> Row:
    """Train in whole rounds within the budget, and evaluate."""
    env = training_env(arguments, (FRAME,))
    datasets.disable_progress_bars()
    set_random_seed(seed_of(arguments))
    rng = np.random.default_rng(seed_of(arguments))
    policy = ActorCriticCnnPolicy(
        env.observation_space, env.action_space, lambda _: torch.finfo(torch.float32).max
    )
    trainer = bc.BC(
        observation_space=env.observation_space,
        action_space=env.action_space,
        policy=policy,
        rng=rng,
        device="cpu",
    )
    updates = 0

    def count() -> None:
        nonlocal updates
        updates += 1

    round_steps = N_ENVS * _EPISODE
    env_steps = arguments.env_steps // round_steps * round_steps
    with tempfile.TemporaryDirectory(prefix="dagger_") as scratch:
        clock = Clock()
        dagger = SimpleDAggerTrainer(
            venv=env,
            scratch_dir=scratch,
            expert_policy=LiveTeacher(env, lambda: env.states),
            bc_trainer=trainer,
            rng=rng,
        )
        # Without `log_rollouts_venv`, it would play further episodes for its log.
        quiet = {"log_rollouts_venv": None, "progress_bar": False, "on_batch_end": count}
        dagger.train(env_steps, bc_train_kwargs=quiet)
        minutes, cpu_minutes = clock.pause()
    env.close()
    return Row(
        versioned("imitation"),
        f"DAgger, {env_steps // round_steps} rounds, CnnPolicy",
        "frames",
        env_steps=env_steps,
        gradient_steps=updates,
        figures=evaluate(dagger.policy, (FRAME,), arguments),
        note="its DAgger takes no dictionaries of observations, so no joints",
        minutes=minutes,
        cpu_minutes=cpu_minutes,
    )


if __name__ == "__main__":
    _arguments = begin(__doc__)
    run(_arguments).write(_arguments.output, "imitation_dagger")
