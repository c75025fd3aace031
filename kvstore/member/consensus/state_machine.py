"""What the driver asks of the member that it drives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from kvstore.raft.types import Entry, Message, Ready, Role


class StateMachine(Protocol):
    """Applies what is committed, and is told what Raft has to say."""

    def apply(self, entry: Entry, late: Callable[[], bool]) -> bool:
        """Apply one committed entry, of any kind.

        late: whether to come to an end. False: call it with the same entry again.
        """

    @property
    def crowded(self) -> bool:
        """Whether nothing more is to be applied until the driver is woken."""

    @property
    def readable(self) -> bool:
        """Whether the state may be read: not in the middle of a request."""

    def foresee(self, index: int, term: int, sequence: int) -> None:
        """The batch of ours with that first sequence is being written, as that entry: a good moment to make answers."""

    def applied_turn(self) -> None:
        """A slice of entries was applied: a good moment to commit the backend."""

    def send(self, messages: Sequence[Message]) -> None:
        """Give messages to the peer links."""

    def install_snapshot(self, ready: Ready, done: Callable[[], None]) -> None:
        """Put the received snapshot in place of log and backend, and the hard state into the log; `done` once both are
        durable."""

    def state_changed(self, leader: int, role: Role) -> None:
        """The leader or our role is another one now."""

    def failed(self, problem: BaseException) -> None:
        """The disk failed: the member must not go on."""
