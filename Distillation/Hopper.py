"""The domain study's Hoppers, `--env CustomHopper-source`; `--help` lists them, and the flags."""

from Distillation.suite_run import main_suite

if __name__ == "__main__":
    main_suite("hopper")
