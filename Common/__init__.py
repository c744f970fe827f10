"""What every floor needs and no floor owns. Nothing here imports from another package."""
