"""What a leader knows about one member's log, and how fast it may send to it.

Invariants: 0 <= match < next. In REPLICATE the entries match+1 … next-1 are under way; in PROBE and SNAPSHOT nothing
is sent until an answer (or, in PROBE, a heartbeat's answer) comes.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Final

from kvstore.invariant import InvariantViolation


class ProgressState(Enum):
    """How a leader sends to a member."""

    PROBE = "probe"  # one append per heartbeat, until we know where the logs meet
    REPLICATE = "replicate"  # optimistic, pipelined
    SNAPSHOT = "snapshot"  # nothing until the snapshot is there


# As in types.py.
PROBE: Final = ProgressState.PROBE
REPLICATE: Final = ProgressState.REPLICATE
SNAPSHOT: Final = ProgressState.SNAPSHOT


class Inflights:
    """The window of appends that were sent and not answered: (last index, bytes of data) of each, oldest first."""

    __slots__ = ("_bytes", "_max_bytes", "_max_messages", "_window", "full")

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        """max_bytes: 0 for no limit."""
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._bytes = 0
        self._window: deque[tuple[int, int]] = deque()
        # The next append has to wait. Asked far more often than it changes.
        self.full = False

    def __len__(self) -> int:
        return len(self._window)

    def add(self, last_index: int, size: int) -> None:
        """An append that ends at last_index went out."""
        self._window.append((last_index, size))
        self._bytes += size
        self.full = len(self._window) >= self._max_messages or 0 < self._max_bytes <= self._bytes

    def free_to(self, index: int) -> None:
        """Everything up to index was answered."""
        window = self._window
        while window and window[0][0] <= index:
            self._bytes -= window.popleft()[1]
        self.full = len(window) >= self._max_messages or 0 < self._max_bytes <= self._bytes

    def free_first(self) -> None:
        """Give up waiting for the oldest answer: it may have been lost."""
        if self._window:
            self.free_to(self._window[0][0])

    def clear(self) -> None:
        """Nothing is under way any more."""
        self._window.clear()
        self._bytes = 0
        self.full = False


class Progress:
    """One member as its leader sees it."""

    __slots__ = (
        "commit",
        "inflights",
        "learner",
        "match",
        "next",
        "pending_snapshot",
        "probe_sent",
        "recent_active",
        "sent_commit",
        "state",
    )

    def __init__(self, next_index: int, inflights: Inflights, *, learner: bool = False) -> None:
        self.match = 0
        self.next = next_index
        self.state = PROBE
        self.inflights = inflights
        self.learner = learner
        self.pending_snapshot = 0
        self.probe_sent = False
        # Heard from since the leader last looked (check-quorum); a new member gets the benefit of the doubt.
        self.recent_active = True
        # The highest commit index the member has said it has on disk.
        self.commit = 0
        # The highest commit index the member will know once what we sent arrives.
        self.sent_commit = 0

    @property
    def paused(self) -> bool:
        """Whether the leader has to wait before it sends another append."""
        if self.state is REPLICATE:
            return self.inflights.full
        return self.state is SNAPSHOT or self.probe_sent

    def _enter(self, state: ProgressState) -> None:
        self.state = state
        self.probe_sent = False
        self.pending_snapshot = 0
        self.sent_commit = 0
        self.inflights.clear()

    def become_probe(self) -> None:
        """Find out where the logs meet; after a snapshot, start behind it."""
        after = self.pending_snapshot if self.state is SNAPSHOT else 0
        self._enter(PROBE)
        self.next = max(self.match, after) + 1

    def become_replicate(self) -> None:
        """The logs meet at match: send at will."""
        self._enter(REPLICATE)
        self.next = self.match + 1

    def become_snapshot(self, index: int) -> None:
        """A snapshot that stands at index is on its way."""
        self._enter(SNAPSHOT)
        self.pending_snapshot = index
        self.next = index + 1

    def sent(self, last_index: int, size: int) -> None:
        """An append went out that ends at last_index (< next: without entries) and carries `size` bytes."""
        if self.state is REPLICATE:
            if last_index >= self.next:
                self.inflights.add(last_index, size)
                self.next = last_index + 1
        else:
            self.probe_sent = True

    def accepted(self, index: int) -> bool:
        """The member has everything up to index. False if we knew that."""
        new = index > self.match
        if new:
            self.match = index
            self.probe_sent = False
        self.next = max(self.next, index + 1)
        if self.match >= self.next:
            raise InvariantViolation("a follower's next index must lie behind its match")
        return new

    def rejected(self, index: int, hint: int) -> bool:
        """The member has no such entry at index; the logs may meet at hint. False for an answer that is too late."""
        if self.state is REPLICATE:
            if index <= self.match:
                return False
            self.next = self.match + 1
            return True
        if self.next - 1 != index:
            return False  # answers an earlier probe
        self.next = max(min(index, hint + 1), self.match + 1)
        self.probe_sent = False
        return True
