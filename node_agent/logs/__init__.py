"""Container logs: reading, following, rotating."""
