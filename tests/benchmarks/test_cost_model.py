"""The predicted speed of the worlds against hand arithmetic, and its counts against the code."""

import pytest
import torch

from benchmarks.gpu_check.cost_model import KERNELS, Card, Work, predictions


def test_predictions_are_sums_of_times():
    card = Card(
        kernel=1e-6,
        frames=1e6,
        sample=3e-6,
        minibatch=1e-3,
        bandwidth=1e12,
        python=1e-3,
        world=1e-6,
        beginning=1e-4,
    )
    work = Work(worlds=1_000, epochs=2, batch_size=1_000, world_bytes=20_000, substeps=5)
    # kernels 507 us, memory 1,000 * 100 kB / 1 TB/s = 100 us, frames 1,000 us
    stepping = 507e-6 + 100e-6 + 1_000e-6
    # Python 1 ms, worlds 1 ms, 10 beginnings 1 ms
    environments = stepping + 3e-3
    # acting 1,000 * 1 us, two epochs of 1,000 * 3 us and one minibatch of 1 ms
    training = environments + 1e-3 + 2 * (3e-3 + 1e-3)
    assert predictions(work, card) == pytest.approx(
        {
            "stepping and drawing": 1_000 / stepping,
            "environments": 1_000 / environments,
            "PPD": 1_000 / training,
        }
    )


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_are_as_many_as_mujoco_warp_launches(name, monkeypatch):
    pytest.importorskip("mujoco_warp")
    from Enviroment.tasks import get_task
    from Enviroment.worlds.library import load_warp
    from Enviroment.worlds.model import read_model
    from Enviroment.worlds.simulation import Simulation

    warp, _ = load_warp()
    worlds = Simulation(read_model(get_task(name), draws=False), 2, torch.device("cpu"))
    n_launches = []
    for launch in ("launch", "launch_tiled"):
        original = getattr(warp, launch)

        def counted(*args, original=original, **kwargs):
            n_launches.append(1)
            return original(*args, **kwargs)

        monkeypatch.setattr(warp, launch, counted)
    worlds.step(torch.zeros(2, worlds.arrays["ctrl"].shape[1]))
    # The solver launches more where it iterates more, so this is no exact number of each step.
    assert len(n_launches) == pytest.approx(KERNELS[name], rel=0.25)
