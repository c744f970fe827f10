"""Train a Reacher teacher: `python Train_Teacher/Reacher.py --algo sac`."""

from __future__ import annotations

from Train_Teacher.command import main

if __name__ == "__main__":
    main("Reacher")
