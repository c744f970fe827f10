"""Train a larger student of larger frames on a GPU: python examples/gpu_run.py [--device cpu]."""

import argparse
from typing import Any

from vision_distillation import Student, distil, evaluate


def main(device: str = "cuda", episodes: int = 50, **settings: Any) -> Student:
    """Train a student of Pusher, and evaluate it on unseen seeds.

    A GPU reads large batches as fast as small ones, so there are more environments and larger
    minibatches than on a processor. One thread renders, which is the fastest on one GPU.
    """
    wanted = {
        "mode": "ImpaalaMid",
        "frame_size": "64x64",
        "num_envs": 64,
        "batch_size": 512,
        "total_timesteps": 350_000,
        "output": "my_gpu_run",
        **settings,
    }
    student = distil("Pusher", method="PPD", device=device, **wanted)
    figures = evaluate(student.folder, episodes=episodes)
    print(f"{device}: return {figures['return']:.1f} of {figures['teacher_return']:.1f}")
    return student


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda")
    main(parser.parse_args().device)
