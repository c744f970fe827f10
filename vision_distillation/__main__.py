"""`python -m vision_distillation COMMAND ...`: as `vision-distillation COMMAND ...`."""

from __future__ import annotations

from Common.commands.toolkit import main

if __name__ == "__main__":
    main()
