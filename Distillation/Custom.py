"""Your own task: `--env_id my_package:MyEnv-v0 --teacher BUNDLE`; `--help` lists the flags."""

from Distillation.custom_run import main_custom

if __name__ == "__main__":
    main_custom()
