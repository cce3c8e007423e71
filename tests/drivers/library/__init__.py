"""A Django application with two models, for the script beside it."""
