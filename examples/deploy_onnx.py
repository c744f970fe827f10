"""Run a student with numpy and onnxruntime alone, beside the environment that it was trained in."""

import subprocess
import sys
from collections import deque

import numpy as np
import onnxruntime

from vision_distillation import Student, make_env

STUDENT = "Results/Pusher/students/ppd_small"
EXPORT = ["-m", "Evaluation.export", STUDENT, "--format", "onnx", "--output", "student.onnx"]


def main(steps: int = 100) -> None:
    """Export the student, and let the file act in an episode of Pusher."""
    subprocess.run([sys.executable, *EXPORT, "--overwrite"], check=True)
    session = onnxruntime.InferenceSession("student.onnx", providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    stack, interval = int(about["frame_stack"]), int(about["frame_interval"])
    reach = (stack - 1) * interval + 1
    history = deque(maxlen=reach)
    env = make_env(Student.load(STUDENT).task, n_envs=1, seed=0)
    obs, total = env.reset(), 0.0
    for _ in range(steps):
        frame = obs["frame"][0, -1:]  # what a camera would give at every step, (1, H, W)
        history.extend([frame] * (1 if history else reach))
        frames = np.concatenate(list(history)[::interval])[None]  # (1, stack, H, W)
        action = session.run(["action"], {"frame": frames, "proprio": obs["proprio"]})[0]
        obs, reward, _, _ = env.step(np.asarray(action))
        total += float(reward[0])
    print(f"return {total:.1f}")


if __name__ == "__main__":
    main()
