"""Slow, obvious reference implementations that the fast ones are tested against, a section a room."""
