"""Distil a teacher of the Procgen suite: `--env Miner`; `--help` lists environments and flags."""

from Distillation.command import main_suite

if __name__ == "__main__":
    main_suite("procgen")
