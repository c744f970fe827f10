"""Our loop against the plain PyTorch loop of the benchmark: the same losses, step by step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from stable_baselines3.common.logger import Logger

from Algorithm.cloning.bc import BehaviouralCloning
from Algorithm.cloning.config import CloningConfig
from Algorithm.cloning.replay import PrioritisedReplay, ReplayConfig
from Algorithm.cloning.samples.data import TeacherSamples
from benchmarks.rivals.dataloader_loop import PlainLoop, StackedFrames
from Enviroment.dataset import collect as collection
from Enviroment.dataset.reader import TeacherDataset
from Enviroment.make import make_env
from Enviroment.tasks import get_task
from Models.student.policy import StudentConfig, StudentPolicy
from Models.teacher.labels import TeacherLabeller
from tests.support.cloning_data import Recorder
from tests.support.tiny_teacher import tiny_teacher

TASK = replace(get_task("Pusher"), frame_size=(16, 16))
CONFIG = CloningConfig(loss_type="NLL", gradient_steps=12, batch_size=32, held_out=0.0, log_every=1)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> TeacherDataset:
    """Three shards of an episode each."""
    folder = tmp_path_factory.mktemp("rival") / "dataset"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collection, "_SHARD_BYTES", 16 * 16 * 100)
        collection.collect(TASK, TeacherLabeller(tiny_teacher()), folder, 300, n_envs=1)
    return TeacherDataset.open(folder, TASK)


def test_the_rival_reads_the_same_samples(dataset: TeacherDataset) -> None:
    samples = StackedFrames(dataset)
    assert len(samples) == len(dataset) == 300
    batch = dataset.read(np.arange(300))
    for index in (0, 1, 5, 99, 100, 103, 250, 299):
        for name, value in samples[index].items():
            np.testing.assert_array_equal(value, batch[name][index])


@pytest.mark.parametrize("plain_encoder", [True, False])
def test_the_losses_are_the_same(dataset: TeacherDataset, plain_encoder: bool) -> None:
    env = make_env(TASK, 1, 0, workers="serial")
    spaces = env.observation_space, env.action_space
    env.close()
    torch.manual_seed(0)
    network = StudentConfig(mode="ImpaalaSmall", family="squashed_gaussian", precision="float32")
    student = StudentPolicy(*spaces, lambda _: 0.0, config=network)
    draws = PrioritisedReplay(300, ReplayConfig(), seed=0)
    draws.add(300, new=False)
    batches = [draws.draw(CONFIG.batch_size).indices for _ in range(CONFIG.gradient_steps)]
    rival = PlainLoop(student, dataset, batches, CONFIG, 0, plain_encoder=plain_encoder)
    expected = rival.learn(CONFIG.gradient_steps)
    model, recorder = BehaviouralCloning(student, TeacherSamples(dataset), CONFIG), Recorder()
    model.set_logger(Logger(None, [recorder]))
    model.learn()
    np.testing.assert_allclose(recorder.curve("train/loss"), expected, rtol=1e-3)
    assert expected[-1] < expected[0] - 0.1  # something was learned, the same by both
