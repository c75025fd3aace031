"""Passwords that were found right, so that bcrypt (tens of milliseconds by design) is asked once and not each time.

What is kept is no password and no hash of one: an HMAC under a key that only this process has, over the user's name,
the stored bcrypt hash and the password. So a user's new password, or a user who was deleted and added again, has
another entry, and no old one can be taken for it; the rest is forgotten by age. Wrong passwords are not kept: they cost
bcrypt each time, in a thread.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict

CACHED = 10_000


class PasswordCache:
    """Entries of one process, the last CACHED."""

    def __init__(self, key: bytes, size: int = CACHED) -> None:
        """key: at least 32 random bytes of this process."""
        self._key = key
        self._size = size
        self._right: OrderedDict[bytes, None] = OrderedDict()

    def digest(self, user: str, stored_hash: bytes, password: str) -> bytes:
        """What stands for a password in this process, and nowhere else."""
        parts = (user.encode(), stored_hash, password.encode())
        message = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.digest(self._key, message, hashlib.sha256)

    def __contains__(self, digest: bytes) -> bool:
        if digest not in self._right:
            return False
        self._right.move_to_end(digest)
        return True

    def add(self, digest: bytes) -> None:
        """It was found right."""
        self._right[digest] = None
        if len(self._right) > self._size:
            self._right.popitem(last=False)

    def clear(self) -> None:
        """Forget everything: auth was turned off, or the state replaced."""
        self._right.clear()
