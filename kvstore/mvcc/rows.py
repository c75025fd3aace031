"""Key-values of many keys at once: what a Range of many keys spends its time on.

Every step is one call for all keys instead of one for each of them.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any, Final

from .encoding import HEADER, HEADER_SIZE, encode_kv
from .keyspace import Keyspace
from .types import REVISION_BYTES, main_of

_behind_header: Final[Callable[[bytes], Any]] = itemgetter(slice(HEADER_SIZE, None))


def read_rows(
    keyspace: Keyspace, keys: list[bytes], revisions: list[int], max_bytes: int, *, keys_only: bool
) -> list[bytes]:
    """The encoded key-values of the first keys, up to the one whose history record makes them `max_bytes`.

    revisions: the packed revision of each key. keys_only: without their values.
    """
    records = keyspace.history.get_numbered(revisions, REVISION_BYTES, max_bytes)
    if keys_only:
        return [without_value(*row) for row in zip(keys, revisions, records, strict=False)]
    return list(map(_behind_header, records))


def without_value(key: bytes, revision: int, record: bytes) -> bytes:
    """The encoded KeyValue of a history record, its value left out."""
    _, _, create, version, lease, _ = HEADER.unpack_from(record)
    return encode_kv(key, create, main_of(revision), version, b"", lease)
