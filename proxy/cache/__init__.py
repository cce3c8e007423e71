"""Stored answers, the fences that guard them, and the fills that bring them in."""
