"""The Hopper domain study."""
