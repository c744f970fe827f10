"""Encoders, and the networks of the papers."""
