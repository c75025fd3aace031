"""Deployments: which sets of pods there are to be, and how many pods each has on the way."""
