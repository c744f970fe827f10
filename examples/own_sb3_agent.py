"""Distil an agent of your own, a zip file of Stable-Baselines3, into a student that sees frames."""

from typing import Any

from stable_baselines3 import PPO

from vision_distillation import Student, distil


def main(agent_steps: int = 300_000, student_steps: int = 100_000, **settings: Any) -> Student:
    """Train an agent of Reacher, save it as SB3 does, and distil the file.

    Args:
        settings: further settings of `distil`.
    """
    PPO("MlpPolicy", "Reacher-v5", device="cpu").learn(agent_steps).save("agent.zip")
    student = distil(
        "Reacher",
        teacher="agent.zip",  # with vecnormalize="vecnormalize.pkl" if it was trained with one
        method="PPD",
        mode="ImpaalaSmall",
        total_timesteps=student_steps,
        output="my_reacher",
        **settings,
    )
    print(student.folder, student.description["training"])
    return student


if __name__ == "__main__":
    main()
