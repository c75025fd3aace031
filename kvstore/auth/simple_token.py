"""Simple tokens, `sixteenletters.index`: a member knows whose each is, and until when.

They are assigned by log entries, so every member that has applied the entry knows them; each counts their time by its
own clock, from their last use there. They are not stored: after a restart clients authenticate again, as with etcd.

Invariant: `_deadlines` is in order of time, because all tokens live equally long and a used one goes to the end; so
what has expired is at the front, and memory holds living tokens only.
"""

from __future__ import annotations

from kvstore.auth.types import Identity


class SimpleTokens:
    """The tokens of one member."""

    through_log = True

    def __init__(self, ttl: float) -> None:
        """ttl: seconds that a token lives after its last use."""
        self._ttl = ttl
        self._users: dict[str, str] = {}
        self._deadlines: dict[str, float] = {}

    def __len__(self) -> int:
        """Tokens that were not found to have expired yet."""
        return len(self._users)

    def assign(self, user: str, prefix: str, index: int, now: float) -> str:
        """Make a token in the log entry `index`."""
        self._expire(now)
        token = f"{prefix}.{index}"
        self._users[token] = user
        self._touch(token, now)
        return token

    def sign(self, user: str, revision: int, now: float) -> str:
        """Never called: these tokens come through the log."""
        raise NotImplementedError("a simple token is assigned by a log entry")

    def index_of(self, token: str) -> int:
        """The log entry that assigned it; 0 for what is no token."""
        prefix, dot, index = token.partition(".")
        # int() takes more than etcd does, signs and underscores for example.
        return int(index) if dot and prefix and index.isascii() and index.isdigit() and len(index) <= 20 else 0

    def identify(self, token: str, revision: int, now: float) -> Identity | None:
        """Whose it is; lets it live on."""
        user = self._users.get(token)
        if user is None:
            return None
        if self._deadlines[token] < now:
            self._expire(now)
            return None
        self._touch(token, now)
        return Identity(user, revision)

    def invalidate(self, user: str) -> None:
        """Forget the user's tokens."""
        for token in [token for token, owner in self._users.items() if owner == user]:
            self._forget(token)

    def clear(self) -> None:
        """Forget them all."""
        self._users.clear()
        self._deadlines.clear()

    def _touch(self, token: str, now: float) -> None:
        self._deadlines.pop(token, None)
        self._deadlines[token] = now + self._ttl

    def _forget(self, token: str) -> None:
        self._users.pop(token, None)
        self._deadlines.pop(token, None)

    def _expire(self, now: float) -> None:
        late = []
        for token, deadline in self._deadlines.items():
            if deadline >= now:
                break
            late.append(token)
        for token in late:
            self._forget(token)
