"""Train a Hopper of the domain study, `--algo ppo --domain source`, or run all of it, `--study`."""

from Train_Teacher.study.command import main

if __name__ == "__main__":
    main()
