"""Leadership transfer (Raft dissertation, 3.10): bring one member up to date, then let it campaign without waiting.

While it lasts the leader takes no proposals; it gives up after an election timeout (ticks.py).
"""

from __future__ import annotations

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
