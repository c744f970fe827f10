"""Train a teacher of your own task: `python Train_Teacher/Custom.py --env_id my_package:MyEnv-v0`."""

from Train_Teacher.custom_train import main_custom

if __name__ == "__main__":
    main_custom()
