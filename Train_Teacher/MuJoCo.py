"""Train a teacher of the MuJoCo suite: `python Train_Teacher/MuJoCo.py --env Hopper --algo ppo`."""

from Train_Teacher.command import main_suite

if __name__ == "__main__":
    main_suite("mujoco")
