"""The Hopper study's REINFORCE and actor-critic."""
