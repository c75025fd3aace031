"""Leadership transfer (Raft dissertation, 3.10): bring one member up to date, then let it campaign without waiting.

While it lasts the leader takes no proposals; it gives up after an election timeout (ticks.py).
"""

from __future__ import annotations

from kvstore.raft.quorum import joint_index
from kvstore.raft.state import Raft
from kvstore.raft.types import Message, MessageKind


def request(r: Raft, transferee: int) -> None:
    """A leader is asked to hand over. Ignored for itself, for who does not vote, and when it is doing so already."""
    if transferee in (r.id, r.transferee) or transferee not in r.tracker.membership.voters:
        return
    r.transferee = transferee
    r.election_elapsed = 0  # the transfer gets a whole election timeout
    if r.tracker.progress[transferee].match == r.log.last_index:
        hand_over(r, transferee)
    else:
        r.appends_due = True


def hand_over(r: Raft, transferee: int) -> None:
    """The transferee has the whole log: let it campaign."""
    r.send(Message(MessageKind.TIMEOUT_NOW, to=transferee))


def leave(r: Raft) -> None:
    """A leader whose vote was taken away stays until its successors can do without it (dissertation, 4.2.2).

    A change takes effect when it is applied, so who has the change but does not know that it is committed still
    needs the vote of the one that left. Therefore a quorum of those who remain must have the commit on disk first.
    """
    membership, progress = r.tracker.membership, r.tracker.progress
    if r.id in membership.all_voters:
        return  # not applied yet
    known = [[progress[voter].commit for voter in half] for half in (membership.voters, membership.outgoing)]
    if joint_index(*known) >= r.leaving_index:
        best = max(sorted(membership.voters), key=lambda voter: progress[voter].match)
        hand_over(r, best)
        r.become_follower(r.term, 0)
