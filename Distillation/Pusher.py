"""Distil a teacher of Pusher-v5: push a cylinder to a goal; `--help` lists the flags."""

from Distillation.command import main

if __name__ == "__main__":
    main("Pusher")
