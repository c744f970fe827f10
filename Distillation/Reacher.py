"""Distil a teacher of Reacher-v5: move the fingertip to a target; `--help` lists the flags."""

from Distillation.command import main

if __name__ == "__main__":
    main("Reacher")
