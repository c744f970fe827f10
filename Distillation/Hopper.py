"""Distil a teacher of the Hopper study: `--env CustomHopper-source`; `--help` lists the flags."""

from Distillation.command import main_suite

if __name__ == "__main__":
    main_suite("hopper")
