"""Frames of peer streams (proto/raft.proto) written and read without protobuf's objects, which cost more than all else
that happens to a message on its way.

The bytes are protobuf's own, so members of any release understand each other. Only what flows all the time is done
here: appends, heartbeats, what is passed on, and the answers, without snapshot or refusal. For anything else, or bytes
in another form than ours, the functions say None, and codec.py goes the ordinary way.

What a message begins with (kind, to, from, term, log term) is the same for thousands of them: it is encoded once, and
known again by its bytes.
Invariant: what read_frame returns is what protobuf reads from the same bytes.
Faults assumed: the bytes may be anything at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from kvstore.raft.types import Entry, Message, MessageKind
from kvstore.varint import varint

_MESSAGES: Final = 0x12  # Frame.messages
_LOG_TERM, _INDEX, _ENTRIES, _COMMIT, _CONTEXT = 0x28, 0x30, 0x3A, 0x40, 0x5A  # of Message
_FLOWING: Final = frozenset(
    (
        MessageKind.APPEND,
        MessageKind.APPEND_REPLY,
        MessageKind.HEARTBEAT,
        MessageKind.HEARTBEAT_REPLY,
        MessageKind.PROPOSE,
        MessageKind.READ_INDEX,
        MessageKind.READ_INDEX_REPLY,
    )
)
_MOST_HEADS: Final = 256

_Head = tuple[MessageKind, int, int, int, int]
"""kind, to, from, term, log_term"""

# Encoded heads, their meaning by their bytes, and the lengths that there are. Forgotten when they are many.
_heads: dict[_Head, bytes] = {}
_meanings: dict[bytes, _Head] = {}
_lengths: list[int] = []


def _long_varint(data: bytes, at: int, first: int) -> tuple[int, int]:
    """(value, position behind it) of a varint whose first byte, not its last, stands before `at`.

    IndexError, or ValueError for one of more than nine bytes. Hot: lengths mostly have two.
    """
    value, shift = first & 0x7F, 7
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 56:
            raise ValueError("not a number that is written here")


def _learn(head: _Head) -> bytes:
    """The head's bytes, from now on known; none if it is not for here."""
    if head[0] not in _FLOWING or not head[1] or not head[2]:
        return b""
    if len(_heads) >= _MOST_HEADS:
        _heads.clear()
        _meanings.clear()
        _lengths.clear()
    fields = zip(b"\x08\x10\x18\x20\x28", head, strict=True)
    data = b"".join(bytes((tag,)) + varint(int(value)) for tag, value in fields if value)
    _heads[head] = data
    _meanings[data] = head
    if len(data) not in _lengths:
        _lengths.append(len(data))
    return data


def write_frame(messages: Iterable[Message]) -> bytes | None:
    """A Frame with these messages; None if one of them is not for here. Hot."""
    frame: list[bytes] = []
    for m in messages:
        if m.reject or m.reject_hint or m.snapshot is not None:
            return None
        head = (m.kind, m.to, m.from_, m.term, m.log_term)
        opening = _heads.get(head) or _learn(head)
        if not opening:
            return None
        if m.index:
            opening += b"\x30" + varint(m.index)
        end = b"\x40" + varint(m.commit) if m.commit else b""
        if m.context:
            end += b"\x5a" + varint(len(m.context)) + m.context
        if m.entries:
            entries: list[bytes] = []
            for entry in m.entries:
                entries += _entry(entry)
            size = len(opening) + sum(map(len, entries)) + len(end)
            frame += (b"\x12", varint(size), opening, *entries, end)
        else:
            frame += (b"\x12", varint(len(opening) + len(end)), opening, end)
    return b"".join(frame)


def _entry(entry: Entry) -> tuple[bytes, bytes, bytes]:
    opening = b"\x08" + varint(entry.term) if entry.term else b""
    if entry.index:
        opening += b"\x10" + varint(entry.index)
    if entry.kind:
        opening += b"\x18" + varint(int(entry.kind))
    data = entry.data
    if data:
        opening += b"\x22" + varint(len(data))
    return b"\x3a" + varint(len(opening) + len(data)), opening, data


def read_frame(data: bytes) -> list[Message] | None:
    """The messages of a Frame; None if one of them is not for here. Hot."""
    messages: list[Message] = []
    at, end = 0, len(data)
    try:
        while at < end:
            if data[at] != _MESSAGES:
                return None
            size = data[at + 1]
            at += 2
            if size > 0x7F:
                size, at = _long_varint(data, at, size)
            stop = at + size
            message = _message(data, at, stop) if stop <= end else None
            if message is None:
                return None
            messages.append(message)
            at = stop
    except (IndexError, ValueError):
        return None
    return messages


def _message(data: bytes, at: int, stop: int) -> Message | None:
    for length in _lengths:
        found = _meanings.get(data[at : at + length])
        if found is not None:
            break
    else:
        return None
    at += length
    kind, to, from_, term, log_term = found
    index = commit = 0
    context = b""
    entries: list[Entry] = []
    while at < stop:
        tag, number = data[at], data[at + 1]
        at += 2
        if number > 0x7F:
            number, at = _long_varint(data, at, number)
        if tag == _INDEX:
            index = number
        elif tag == _COMMIT:
            commit = number
        elif tag == _ENTRIES:
            entry = _read_entry(data, at, at + number)
            if entry is None:
                return None
            entries.append(entry)
            at += number
        elif tag == _CONTEXT:
            context = data[at : at + number]
            at += number
        elif tag == _LOG_TERM:
            log_term = number
        else:
            return None
    if at != stop:
        return None
    return Message(kind, to, from_, term, log_term, index, entries, commit, False, 0, context)


def _read_entry(data: bytes, at: int, stop: int) -> Entry | None:
    term = index = kind = 0
    body = b""
    while at < stop:
        tag, number = data[at], data[at + 1]
        at += 2
        if number > 0x7F:
            number, at = _long_varint(data, at, number)
        if tag == 0x22:
            body = data[at : at + number]
            at += number
        elif tag == 0x08:
            term = number
        elif tag == 0x10:
            index = number
        elif tag == 0x18 and number < 0x80:
            kind = number
        else:
            return None
    return Entry(term, index, kind, body) if at == stop else None


def learn_from(messages: Iterable[Message]) -> None:
    """Messages came that were not known here: the next like them are."""
    for m in messages:
        _learn((m.kind, m.to, m.from_, m.term, m.log_term))
