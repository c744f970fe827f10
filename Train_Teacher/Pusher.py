"""Train a Pusher teacher: `python Train_Teacher/Pusher.py --algo sac`."""

from __future__ import annotations

from Train_Teacher.command import main

if __name__ == "__main__":
    main("Pusher")
