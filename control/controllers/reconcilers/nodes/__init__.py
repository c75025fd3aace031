"""Nodes that come, go and fall silent, and what becomes of their pods."""
