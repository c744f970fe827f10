"""Run a grid on this machine or on a cluster; docs/grids.md describes grids."""

from Distillation.sweeps.command import main

if __name__ == "__main__":
    main()
