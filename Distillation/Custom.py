"""Distil a teacher of your own task: `--env_id my_package:MyEnv-v0 --teacher BUNDLE`."""

from Distillation.custom_run import main_custom

if __name__ == "__main__":
    main_custom()
