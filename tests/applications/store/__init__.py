"""A Django application as many are: a book shop with an admin, for the script beside it."""
