"""Render simulations to pixels."""
