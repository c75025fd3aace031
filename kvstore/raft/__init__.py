"""Consensus (Raft, as in Ongaro's dissertation): messages and ticks in, Readys out. No clock, no chance, no I/O.

node.py         RawNode, the owner's side of it all
types.py, storage.py, config.py, codec.py   what it is given and gives
state.py        the one object that all of the following change
step.py         a message comes in   ticks.py  time passes
election.py     campaigns, votes     transfer.py  handing over
replication.py  a leader's appends   following.py  what a follower does with them
reads.py        linearizable reads   membership.py, confchange.py  who is in the group
log.py          what is saved, what is on its way to the disk
tracker.py, progress.py, quorum.py   who has what, and who decides
"""
