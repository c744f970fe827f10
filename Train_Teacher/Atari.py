"""Train a teacher of the Atari suite: `python Train_Teacher/Atari.py --env Pong`."""

from Train_Teacher.command import main_suite

if __name__ == "__main__":
    main_suite("atari")
