"""Clone recorded arrays, without a teacher and without an environment.

The recording here is made up: a gripper follows a bright object in the picture of a camera.
"""

import numpy as np

from vision_distillation import ArraySamples, CloningConfig, clone


def recording(n_episodes: int = 40, length: int = 50) -> tuple[np.ndarray, ...]:
    """Return pictures (T, H, W, 3), joints (T, 2), actions (T, 2) and ends of episodes (T,)."""
    rng, steps = np.random.default_rng(0), n_episodes * length
    places = rng.uniform(0, 1, (n_episodes, 2)).repeat(length, axis=0)
    joints = rng.uniform(0, 1, (steps, 2))
    frames = np.full((steps, 64, 64, 3), 40, np.uint8)
    for frame, (x, y) in zip(frames, places, strict=True):
        frame[int(52 * y) :, int(52 * x) :][:12, :12] = (220, 60, 40)
    ends = np.arange(steps) % length == length - 1
    return frames, joints, places - joints, ends


def main(gradient_steps: int = 2_000) -> None:
    """Train a student, and compare its actions with the recorded ones."""
    frames, joints, actions, ends = recording()
    config = CloningConfig(gradient_steps=gradient_steps)
    student = clone(ArraySamples(frames, joints, actions, ends), "my_clone", config=config)
    ours = [student.act(*step) for step in zip(frames[:50], joints[:50], strict=True)]
    print(f"mean error {np.abs(ours - actions[:50]).mean():.3f} of actions from -1 to 1")


if __name__ == "__main__":
    main()
