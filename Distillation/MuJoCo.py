"""Distil a teacher of the MuJoCo suite: `--env Hopper`; `--help` lists environments and flags."""

from Distillation.command import main_suite

if __name__ == "__main__":
    main_suite("mujoco")
