"""Answers read in slices with turns of the loop between them, so that a large one holds nobody up.

Before each slice it is asked whether the call still lasts and whether users and roles are those that permitted it.
Invariants: what a call gathers is counted in `Gathered.total` until it is sent or the call ends; a call that waits for
its client is held by that client's connection alone, and goes with it.
Faults assumed: a client that goes away or stops reading (nothing more is read for it), a compaction or a change of
users between two slices (the call fails).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from kvstore.errors import Code, EtcdError, error
from kvstore.member.member import Member
from kvstore.wire.grpc.call import Call

# What is read in one turn of the loop.
SLICE_KEYS = 1_000
SLICE_BYTES = 1 << 20
# Octets that may wait for the client while more is read for it.
BUFFERED = 1 << 20
# etcd's limit for a message that it sends.
MAX_MESSAGE = (1 << 31) - 1


class Gathered:
    """Octets that all calls of a member hold in gathered slices."""

    def __init__(self) -> None:
        self.total = 0


def check_length(length: int) -> None:
    """RESOURCE_EXHAUSTED for a message of more octets than gRPC can say."""
    if length > MAX_MESSAGE:
        text = f"grpc: trying to send message larger than max ({length} vs. {MAX_MESSAGE})"
        raise EtcdError(Code.RESOURCE_EXHAUSTED, text)


class Sliced:
    """One call that is answered in steps, each of which reads a slice."""

    def __init__(self, member: Member, call: Call, auth_revision: int = 0) -> None:
        """auth_revision: at which the read was permitted; 0 while auth is off."""
        self._member = member
        self._call = call
        self._auth_revision = auth_revision

    def _later(self, step: Callable[[], None]) -> None:
        """The step comes in the next turn of the loop."""
        self._member.loop.call_soon(self._step, step)

    def _step(self, step: Callable[[], None]) -> None:
        """One turn's worth; what is refused ends the call."""
        if self._call.closed:
            self._let_go()
            return
        try:
            if self._auth_revision and self._auth_revision != self._member.auth.revision:
                raise error("AUTH_OLD_REVISION")
            step()
        except EtcdError as refused:
            self._let_go()
            self._call.fail(refused.code, refused.message)

    def _waits(self, step: Callable[[], None]) -> bool:
        """Whether so much waits for the client that the step must, too; then it comes once that has left."""
        if self._call.buffered <= BUFFERED:
            return False
        self._call.on_drain = partial(self._drained, step)
        return True

    def _drained(self, step: Callable[[], None]) -> None:
        self._call.on_drain = None
        self._step(step)

    def _let_go(self) -> None:
        """Keep nothing (any more)."""


class Gathering(Sliced):
    """A call that holds slices until its answer is whole."""

    def __init__(self, member: Member, call: Call, gathered: Gathered, auth_revision: int) -> None:
        super().__init__(member, call, auth_revision)
        self._gathered = gathered
        self._held = 0

    def _hold(self, size: int) -> None:
        """So many octets more."""
        self._held += size
        self._gathered.total += size

    def _let_go(self) -> None:
        """Keep nothing (any more)."""
        self._gathered.total -= self._held
        self._held = 0
