"""The bytes of a log segment.

    segment  = header record* zeros            preallocated, so the zeros are there before the records
    header   = magic 8 | version u32 | length u32 | crc u32 | body
    body     = salt u32 | sequence u64 | next index u64 | end of the previous segment u64 | its last checksum u32
               | hard state | base index u64 | base term u64 | snapshot meta | metadata length u32 | metadata
    record   = salt u32 | crc u32 | previous crc u32 | payload length u32 | kind u32 | synced u64 | payload
    batch    = hard state | first index u64 | count u32 | count * (term u64, length u32, kind u8) | the entries' data
    hard state = term u64 | vote u64 | commit u64
    meta     = index u64 | term u64 | auto leave u8 | 4 * count u16 | ids u64 …
All integers are little-endian; every crc is CRC32C.

Invariants: a record's crc is seeded with the segment's header and covers its own offset, so neither stale bytes nor a
record that landed in the wrong place can pass; `previous crc` chains it to the record before it; `synced` is how much
of this segment was known to be durable when the record was written, which tells rot from a torn write (see replay.py).
A segment's header repeats all that the segments before it said, entries aside, so that they can go.
Source: the ideas of protocol-aware recovery, Alagappan et al., FAST '18.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from google_crc32c import extend as _extend
from google_crc32c import value as _crc32c

from kvstore.raft.types import ConfState, Entry, HardState, SnapshotMeta

MAGIC = b"FLUYTLOG"
VERSION = 1

BATCH = 1  # entries, and the hard state as it is after them
SNAPSHOT = 2  # a snapshot exists: its meta
RESTART = 3  # the log begins again after a snapshot: its meta
BASE = 4  # entries up to an index are compacted: index, term
CLOSED = 5  # everything before it was synced when the log was closed

_PREFIX = struct.Struct("<8sII")
_CRC = struct.Struct("<I")
_BODY = struct.Struct("<IQQQIQQQQQ")
RECORD = struct.Struct("<IIIIIQ")
_AFTER_CRC = struct.Struct("<QIIIQ")
_BATCH = struct.Struct("<QQQQI")
_ENTRY = struct.Struct("<QIB")
_META = struct.Struct("<QQBHHHH")
_BASE = struct.Struct("<QQ")
_LENGTH = struct.Struct("<I")

HEADER_PREFIX_BYTES = _PREFIX.size + _CRC.size


class Header(NamedTuple):
    """What a segment says of itself and repeats of those before it."""

    salt: int
    sequence: int
    next_index: int  # index that the first entry appended here had, were it not for overlaps
    previous_end: int  # bytes of the previous segment that hold records; 0 for the first one
    previous_crc: int  # of its last record
    hard_state: HardState
    base_index: int
    base_term: int
    snapshot: SnapshotMeta
    metadata: bytes


class Record(NamedTuple):
    """One record that passed its checksum."""

    offset: int
    end: int
    crc: int
    previous: int
    kind: int
    synced: int
    payload: bytes


class BadHeader(ValueError):
    """The bytes are no segment header."""


def encode_header(header: Header) -> bytes:
    """The header's bytes, checksum included."""
    hard = header.hard_state
    fixed = _BODY.pack(
        header.salt,
        header.sequence,
        header.next_index,
        header.previous_end,
        header.previous_crc,
        hard.term,
        hard.vote,
        hard.commit,
        header.base_index,
        header.base_term,
    )
    body = b"".join((fixed, encode_meta(header.snapshot), _LENGTH.pack(len(header.metadata)), header.metadata))
    prefix = _PREFIX.pack(MAGIC, VERSION, len(body))
    return b"".join((prefix, _CRC.pack(_crc32c(prefix + body)), body))


def decode_header(data: bytes) -> tuple[Header, int, int]:
    """The header at the start of data, its length in bytes and its checksum. BadHeader names what is wrong."""
    if len(data) < HEADER_PREFIX_BYTES or data[:8] != MAGIC:
        raise BadHeader("not a log segment")
    _, version, length = _PREFIX.unpack_from(data)
    end = HEADER_PREFIX_BYTES + length
    (crc,) = _CRC.unpack_from(data, _PREFIX.size)
    body = data[HEADER_PREFIX_BYTES:end]
    if _crc32c(data[: _PREFIX.size] + body) != crc:
        raise BadHeader("checksum mismatch in the segment header")
    if version > VERSION:
        raise BadHeader(f"written by a newer release (format {version}, this one knows {VERSION})")
    return _decode_body(body), end, crc


def _decode_body(body: bytes) -> Header:
    salt, sequence, next_index, end, crc, term, vote, commit, base, base_term = _BODY.unpack_from(body)
    snapshot, at = decode_meta(body, _BODY.size)
    (length,) = _LENGTH.unpack_from(body, at)
    metadata = body[at + _LENGTH.size : at + _LENGTH.size + length]
    hard_state = HardState(term, vote, commit)
    return Header(salt, sequence, next_index, end, crc, hard_state, base, base_term, snapshot, metadata)


def encode_record(
    salt: int, seed: int, offset: int, previous: int, kind: int, synced: int, payload: bytes
) -> tuple[bytes, int]:
    """The bytes before the payload, and the record's checksum. Hot: two calls of C over the bytes, nothing else."""
    length = len(payload)
    crc = _extend(_extend(seed, _AFTER_CRC.pack(offset, previous, length, kind, synced)), payload)
    return RECORD.pack(salt, crc, previous, length, kind, synced), crc


def decode_record(data: bytes, at: int, offset: int, salt: int, seed: int) -> Record | None:
    """The record at data[at:], which is `offset` in its segment; None if the bytes there are not a whole one."""
    if at + RECORD.size > len(data):
        return None
    found, crc, previous, length, kind, synced = RECORD.unpack_from(data, at)
    start = at + RECORD.size
    if found != salt or start + length > len(data):
        return None
    payload = data[start : start + length]
    if _extend(_extend(seed, _AFTER_CRC.pack(offset, previous, length, kind, synced)), payload) != crc:
        return None
    return Record(offset, offset + RECORD.size + length, crc, previous, kind, synced, payload)


def encode_batch(hard_state: HardState, entries: Sequence[Entry]) -> bytes:
    """A batch's payload. Hot: one join, and one pack an entry."""
    first = entries[0].index if entries else 0
    parts = [_BATCH.pack(hard_state.term, hard_state.vote, hard_state.commit, first, len(entries))]
    pack = _ENTRY.pack
    for entry in entries:
        parts.append(pack(entry.term, len(entry.data), entry.kind))  # mostly one: no frame for it
    for entry in entries:
        parts.append(entry.data)
    return b"".join(parts)


def batch_terms(payload: bytes) -> tuple[HardState, int, list[int]]:
    """Hard state, first index and the entries' terms: what replay wants of a batch."""
    term, vote, commit, first, count = _BATCH.unpack_from(payload)
    heads = payload[_BATCH.size : _BATCH.size + count * _ENTRY.size]
    return HardState(term, vote, commit), first, [head[0] for head in _ENTRY.iter_unpack(heads)]


def batch_entries(payload: bytes) -> list[Entry]:
    """The entries of a batch."""
    *_, first, count = _BATCH.unpack_from(payload)
    at = _BATCH.size + count * _ENTRY.size
    entries = []
    for position in range(count):
        term, length, kind = _ENTRY.unpack_from(payload, _BATCH.size + position * _ENTRY.size)
        entries.append(Entry(term, first + position, kind, payload[at : at + length]))
        at += length
    return entries


def encode_meta(meta: SnapshotMeta) -> bytes:
    """A snapshot's index, term and membership."""
    conf = meta.conf_state
    sets = (conf.voters, conf.learners, conf.voters_outgoing, conf.learners_next)
    head = _META.pack(meta.index, meta.term, conf.auto_leave, *map(len, sets))
    members = [member for group in sets for member in group]
    return head + struct.pack(f"<{len(members)}Q", *members)


def decode_meta(data: bytes, at: int = 0) -> tuple[SnapshotMeta, int]:
    """The meta at data[at:] and where it ends."""
    index, term, auto_leave, *counts = _META.unpack_from(data, at)
    at += _META.size
    groups: list[tuple[int, ...]] = []
    for count in counts:
        groups.append(struct.unpack_from(f"<{count}Q", data, at))
        at += 8 * count
    voters, learners, outgoing, learners_next = groups
    return SnapshotMeta(index, term, ConfState(voters, learners, outgoing, learners_next, bool(auto_leave))), at


def encode_base(index: int, term: int) -> bytes:
    """A compaction point's payload."""
    return _BASE.pack(index, term)


def decode_base(payload: bytes) -> tuple[int, int]:
    """Index and term of a compaction point."""
    index, term = _BASE.unpack(payload)
    return index, term
