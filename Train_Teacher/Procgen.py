"""Train a teacher of the Procgen suite: `python Train_Teacher/Procgen.py --env Miner`."""

from Train_Teacher.command import main_suite

if __name__ == "__main__":
    main_suite("procgen")
