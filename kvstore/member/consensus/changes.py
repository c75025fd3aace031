"""Changes of membership of this member on their way through the log, and who waits for them.

A change is an entry of its own kind, one at a time; beyond that it has the life of a batch (proposals.py): it
remembers the term it was proposed in, a leader takes it only in that very term and only once, and when an entry of a
later term is applied before it, it is proposed again. So it is applied once or not at all, whoever leads.

Its context is a batch like any other entry's: the member it came from, its sequence number, and what it does to the
table of members (membership.py), so that every member applies the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kvstore.errors import error
from kvstore.member.consensus.proposals import Done
from kvstore.member.membership import raft_change
from kvstore.member.requests import encode_head, encode_request
from kvstore.raft import codec, confchange
from kvstore.raft.tracker import Membership
from kvstore.raft.types import ConfChange, ConfChangeKind, ConfChangeSingle, ConfState

MAX_CHANGES = 1_000

# Raft ignores the member 0.
_NOTHING = (ConfChangeSingle(ConfChangeKind.REMOVE, 0),)


class _Change(NamedTuple):
    """term: it was proposed in; 0 while it waits. done: None once nobody waits any more."""

    term: int
    data: bytes
    done: Done | None
    deadline: float


class ChangeQueue:
    """Changes that wait for a leader or to be applied, by sequence number."""

    def __init__(self, origin: int, first_sequence: int) -> None:
        """first_sequence: higher than any of an earlier life of this member."""
        self._origin = origin
        self._next = first_sequence
        self._changes: dict[int, _Change] = {}
        # Changes that are not in flight.
        self.waiting = 0

    def __len__(self) -> int:
        """Changes that wait or are in flight."""
        return len(self._changes)

    def add(self, requests: Sequence[tuple[int, bytes]], done: Done, deadline: float) -> None:
        """Queue a change of one member, or a joint one of several. Raises TOO_MANY_REQUESTS."""
        if len(self._changes) >= MAX_CHANGES:
            raise error("TOO_MANY_REQUESTS")
        context = encode_head(self._origin, self._next) + b"".join(encode_request(k, body) for k, body in requests)
        change = ConfChange(tuple(raft_change(kind, body) for kind, body in requests), context=context)
        self._changes[self._next] = _Change(0, codec.encode_conf_change(change), done, deadline)
        self._next += 1
        self.waiting += 1

    def take(self, term: int) -> list[tuple[int, bytes]]:
        """What waits, as (sequence, encoded change), now in flight in that term."""
        if not self.waiting:
            return []
        taken = [(n, change.data) for n, change in self._changes.items() if not change.term]
        for number, _ in taken:
            self._changes[number] = self._changes[number]._replace(term=term)
        self.waiting = 0
        return taken

    def in_flight(self, term: int) -> list[tuple[int, bytes]]:
        """What was proposed in that term: to be sent again when the link to the leader comes back."""
        return [(n, change.data) for n, change in self._changes.items() if change.term == term]

    def applied(self, sequence: int) -> Done | None:
        """A change of ours was applied: who waits for it."""
        change = self._changes.pop(sequence, None)
        if change is None:
            return None
        self.waiting -= not change.term
        return change.done

    def overtaken(self, term: int) -> list[Done]:
        """A snapshot as of an entry of `term` took the place of the log: who waits for changes that may be in it."""
        lost = [n for n, change in self._changes.items() if 0 < change.term <= term]
        return [change.done for change in [self._changes.pop(n) for n in lost] if change.done is not None]

    def lost_before(self, term: int) -> int:
        """An entry of `term` was applied: what was proposed before it waits again. Returns how many."""
        lost = [n for n, change in self._changes.items() if 0 < change.term < term]
        for number in lost:
            if self._changes[number].done is None:
                del self._changes[number]
            else:
                self._changes[number] = self._changes[number]._replace(term=0)
                self.waiting += 1
        return len(lost)

    def expire(self, now: float) -> list[Done]:
        """Who has waited long enough. What is in flight stays: it may yet be applied."""
        late = [(n, change) for n, change in self._changes.items() if change.done and change.deadline <= now]
        for number, change in late:
            if change.term:
                self._changes[number] = change._replace(done=None)
            else:
                del self._changes[number]
                self.waiting -= 1
        return [change.done for _, change in late if change.done]

    def drain(self) -> list[Done]:
        """Everybody who waits, for a member that stops."""
        everybody = [change.done for change in self._changes.values() if change.done]
        self._changes.clear()
        self.waiting = 0
        return everybody


def fitted(change: ConfChange, conf_state: ConfState) -> ConfChange:
    """The change as a leader may propose it: without effect if it could never fit the membership in force.

    It then still goes through the log, so that whoever waits for it hears why it was refused. A joint configuration is
    left before the next change, so in one the change may yet fit.
    """
    membership = Membership.of(conf_state)
    if not membership.joint:
        try:
            confchange.apply(membership, change)
        except confchange.ConfChangeError:
            return ConfChange(_NOTHING, context=change.context)
    return change
