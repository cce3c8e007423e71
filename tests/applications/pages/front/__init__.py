"""The page's Django application: models over tables that exist."""
