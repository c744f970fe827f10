"""Distil a teacher of the Atari suite: `--env Pong`; `--help` lists environments and flags."""

from Distillation.command import main_suite

if __name__ == "__main__":
    main_suite("atari")
