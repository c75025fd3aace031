"""Consensus (Raft, as in Ongaro's dissertation): messages and ticks in, Readys out. No clock, no chance, no I/O."""
