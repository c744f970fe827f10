"""Every run of a grid, here or on a cluster; docs/grids.md tells what a grid is."""

from Distillation.sweeps.tool import main

if __name__ == "__main__":
    main()
