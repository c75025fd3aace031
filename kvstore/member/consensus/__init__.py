"""Raft at work: what waits for it, what it wants saved and said, what it has committed, and what comes first."""
