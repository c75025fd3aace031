"""How keys of any length and content become keys of the tables `keys` and `versions`.

LMDB takes 511 bytes. A longer key is stored as its beginning and its SHA-256; the whole key stands in the history
record that the entry points to, and order among such keys comes from the in-memory index, never from the table.

Invariants: two keys never share a table key (digest collisions aside); a short form and a long form differ in length;
all versions of one key are neighbours, in revision order.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from .types import to_bytes

_REVISION: Final = 12
_DIGEST: Final = 32
_KEEP: Final = 440

LONGEST_PLAIN: Final = _KEEP
"""Keys up to this many bytes stand whole in the table `keys`."""


def live_key(key: bytes) -> bytes:
    """The key's name in the table `keys`."""
    if len(key) <= _KEEP:
        return key
    return key[:_KEEP] + sha256(key).digest()


def version_prefix(key: bytes) -> bytes:
    """What stands before the revision in all of the key's entries in `versions`.

    A zero byte ends the key, so that `a` and `a\\0…` do not interleave; a zero inside it is marked by 0xff behind it
    (a revision never begins with 0xff).
    """
    plain = key.replace(b"\0", b"\0\xff") if b"\0" in key else key
    if len(plain) <= _KEEP:
        return plain + b"\0"
    return plain[:_KEEP] + sha256(key).digest() + b"\0"


def version_key(key: bytes, revision: int) -> bytes:
    """The name in `versions` of the key's superseded revision."""
    return version_prefix(key) + to_bytes(revision)
