"""Containers by a Docker engine on the same machine."""
