"""Committed entries become changes of the state, and answers to those who wait."""
