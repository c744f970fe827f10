"""Code that all packages share. Nothing here imports from another package."""
