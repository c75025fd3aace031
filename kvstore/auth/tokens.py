"""What a client shows after it has authenticated, so that it need not send its password each time.

A provider makes tokens and says whose they are. Where `through_log` is true, a token is assigned by a log entry, and so
every member knows it; where it is false, the member that checked the password signs it. Times are seconds since the
epoch, and come in as arguments.
"""

from __future__ import annotations

from typing import Protocol

from kvstore.auth.types import Identity
from kvstore.errors import error


class TokenProvider(Protocol):
    """How tokens are made and read."""

    through_log: bool

    def assign(self, user: str, prefix: str, index: int, now: float) -> str:
        """Make a token in the log entry `index`; prefix: random, chosen where the password was checked."""

    def sign(self, user: str, revision: int, now: float) -> str:
        """Make a token outside the log. May take milliseconds: call it in a thread. Raises etcd's refusals."""

    def index_of(self, token: str) -> int:
        """The log entry that a member must have applied to know the token; 0 for none."""

    def identify(self, token: str, revision: int, now: float) -> Identity | None:
        """Whose it is; revision: of the auth store. None for an unknown, forged or expired token."""

    def invalidate(self, user: str) -> None:
        """The user's tokens are worth nothing from now on, where that can be."""

    def clear(self) -> None:
        """Forget every token: auth was turned off, or the state replaced."""


class NoTokens:
    """No tokens at all (`--auth-token ''`): users come with certificates."""

    through_log = False

    def assign(self, user: str, prefix: str, index: int, now: float) -> str:
        """Never called."""
        raise error("AUTH_FAILED")

    def sign(self, user: str, revision: int, now: float) -> str:
        """Always AUTH_FAILED."""
        raise error("AUTH_FAILED")

    def index_of(self, token: str) -> int:
        """None is needed."""
        return 0

    def identify(self, token: str, revision: int, now: float) -> Identity | None:
        """Nobody's."""
        return None

    def invalidate(self, user: str) -> None:
        """There are none."""

    def clear(self) -> None:
        """There are none."""
