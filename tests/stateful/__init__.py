"""Twins: each session through Howdah has one held directly, and both must be told the same."""
