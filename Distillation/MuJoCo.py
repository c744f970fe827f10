"""The MuJoCo suite, `--env Hopper`; `--help` lists the environments, with `--env` the flags."""

from Distillation.suite_run import main_suite

if __name__ == "__main__":
    main_suite("mujoco")
