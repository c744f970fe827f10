"""REINFORCE and actor-critic of the Hopper study."""
