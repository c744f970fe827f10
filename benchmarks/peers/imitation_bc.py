"""BC of `imitation`, on this project's dataset of the teacher.

Usage: python -m benchmarks.peers.imitation_bc [--dataset DIR]

`bc.BC` with its defaults: batches of 32, Adam 1e-3, NLL with an entropy bonus of 1e-3, and for
dictionaries of observations a Nature-CNN beside the joints, then two layers of 32. Its tutorial
trains for 1 epoch. The second row goes on to 10.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from imitation.algorithms import bc  # pyright: ignore[reportMissingImports]
from imitation.data import types  # pyright: ignore[reportMissingImports]
from stable_baselines3.common.utils import set_random_seed

from benchmarks.peers.setting import (
    SEEN,
    TASK,
    Arguments,
    Clock,
    Row,
    begin,
    evaluate,
    seed_of,
    training_env,
    versioned,
)
from Enviroment.dataset.format import ACTION
from Enviroment.dataset.reader import TeacherDataset

EPOCHS = (1, 10)  # that of its tutorial, and more


def transitions(dataset: TeacherDataset) -> types.Transitions:
    """Return all steps of a dataset in `imitation`'s form: frames of 34,560 steps are 320 MB."""
    steps = dataset.read(np.arange(len(dataset)), (*SEEN, ACTION))
    obs = types.DictObs({name: steps[name] for name in SEEN})
    return types.Transitions(
        obs=obs,
        acts=steps[ACTION],
        infos=np.array([{}] * len(dataset)),
        # BC does not use these, but its batches must have them.
        next_obs=obs,
        dones=np.zeros(len(dataset), bool),
    )


def run(arguments: Arguments) -> Iterator[Row]:
    """Train, and return a row after each number of epochs."""
    env = training_env(arguments, SEEN)
    space, actions = env.observation_space, env.action_space
    env.close()
    dataset = TeacherDataset.open(arguments.dataset, TASK)
    set_random_seed(seed_of(arguments))
    clock = Clock()
    trainer = bc.BC(
        observation_space=space,
        action_space=actions,
        demonstrations=transitions(dataset),
        rng=np.random.default_rng(seed_of(arguments)),
        device="cpu",
    )
    done = 0
    for epochs in EPOCHS:
        trainer.train(n_epochs=epochs - done, progress_bar=False)
        done = epochs
        minutes, cpu_minutes = clock.pause()
        yield Row(
            versioned("imitation"),
            f"BC, {epochs} epoch{'s' if epochs > 1 else ''}",
            env_steps=len(dataset),
            gradient_steps=len(dataset) // trainer.batch_size * epochs,
            figures=evaluate(trainer.policy, SEEN, arguments),
            note="without the time to collect the dataset",
            minutes=minutes,
            cpu_minutes=cpu_minutes,
        )
        clock.resume()


if __name__ == "__main__":
    _arguments = begin(__doc__)
    for _epochs, _row in zip(EPOCHS, run(_arguments), strict=True):
        _row.write(_arguments.output, f"imitation_bc_{_epochs}")
