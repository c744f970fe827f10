"""Train a teacher of your own task: `--env_id my_package:MyEnv-v0 --algo {sac,tqc,ppo}`."""

from Train_Teacher.custom_train import main_custom

if __name__ == "__main__":
    main_custom()
