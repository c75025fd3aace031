"""Header blocks decoded once and remembered by their bytes.

HPACK gives equal bytes equal meaning only while the dynamic table stays as it is, so:
* what is remembered was decoded without changing the table, and is forgotten as soon as any block changes it;
* we announce SETTINGS_HEADER_TABLE_SIZE 0: once the peer has obeyed, there is no table and nothing is ever forgotten.

grpc-go and grpc-core send a `grpc-timeout` that differs in each call. With the table gone only those few bytes of the
block differ, so blocks are also remembered *without* that field: the bytes before it and after it, and where it
stood. The bytes before it end at a field boundary (that was checked when they were learned, and is a property of
these bytes alone), so in another block with the same bytes before and behind, what stands there is that field again,
and all others mean what they meant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from hpack import Decoder, HPACKError, OversizedHeaderListError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from kvstore.wire.h2.errors import ConnectionFault, ErrorCode
from kvstore.wire.h2.hpack_walk import Span, spans

Field = tuple[bytes, bytes]
T = TypeVar("T")

# What one connection may remember: blocks longer than this are decoded each time, and the memory starts over when full.
_LONGEST = 2048
_BUDGET = 64 * 1024


class _WatchedTable(HeaderTable):
    """A header table that counts its changes. Adding to a table of size 0 changes nothing: it is empty before and
    after.
    """

    def __init__(self) -> None:
        super().__init__()
        self.changes = 0

    def add(self, name: bytes, value: bytes) -> None:
        before = len(self.dynamic_entries)
        super().add(name, value)
        if before or self.dynamic_entries:
            self.changes += 1

    @property
    def maxsize(self) -> int:
        return self._maxsize

    @maxsize.setter
    def maxsize(self, newmax: int) -> None:
        if newmax != self._maxsize:
            self.changes += 1
            # HeaderTable's own setter does the evicting.
            HeaderTable.maxsize.fset(self, newmax)  # type: ignore[attr-defined]


class _Shape(Generic[T]):
    """What stands before the volatile field's value, its name included, and behind it; where the value begins,
    and how many octets follow it."""

    __slots__ = ("before", "behind", "made", "size", "start")

    def __init__(self, before: bytes, behind: bytes, made: T) -> None:
        self.before = before
        self.behind = behind
        self.made = made
        self.start = len(before)
        self.size = len(behind)


class HeaderDecoder(Generic[T]):
    """Decodes one direction of one connection. `make(fields)` turns a decoded list into what the caller keeps for it.

    volatile: name of the field that may be cut out; it is then not among the fields given to make.
    known: block → (made, value of the volatile field or None), for hot loops to read; only this class writes it.
    """

    def __init__(self, make: Callable[[list[Field]], T], *, max_list: int, volatile: bytes = b"") -> None:
        self._make = make
        self._volatile = volatile
        self._decoder = Decoder(max_header_list_size=max_list)
        self._table = _WatchedTable()
        self._decoder.header_table = self._table
        self._held = 0
        self.known: dict[bytes, tuple[T, bytes | None]] = {}
        # By the block without its volatile field; and the one that was found last, which comes again most often.
        self._shapes: dict[bytes, _Shape[T]] = {}
        self._latest: _Shape[T] | None = None
        # The field up to its value: representation and name, as this peer writes them.
        self._mark = b""

    def allow_table(self, size: int) -> None:
        """The peer acknowledged this SETTINGS_HEADER_TABLE_SIZE: from now on its table may not be larger."""
        self._decoder.max_allowed_table_size = size
        self._forget()

    def decode(self, block: bytes) -> tuple[T, bytes | None]:
        """(made, value of the volatile field). ConnectionFault if the block is no HPACK or too long decoded."""
        return self.known.get(block) or self.by_shape(block) or self._learn(block)

    def by_shape(self, block: bytes) -> tuple[T, bytes] | None:
        """decode() of a block that differs from one seen before in the volatile field's value only; None for others."""
        found = self.cut(block)
        if found is None:
            return None
        text = found[1][1:]
        return found[0], _huffman(text) if found[1][0] & 0x80 else text

    def cut(self, block: bytes) -> tuple[T, bytes] | None:
        """by_shape() without decoding: the value as it stands, a string literal with its length in one octet. Hot."""
        shape = self._latest
        if shape is None or not (block.startswith(shape.before) and block.endswith(shape.behind)):
            shape = self._latest = self._find(block)
            if shape is None:
                return None
        value = block[shape.start : len(block) - shape.size]
        # A length of 127 goes on in further octets.
        if not value or value[0] & 0x7F != len(value) - 1 or len(value) > 127:
            return None
        return shape.made, value

    def _find(self, block: bytes) -> _Shape[T] | None:
        at = block.find(self._mark) if self._mark else -1
        if at < 0:
            return None
        value = at + len(self._mark)
        if value >= len(block) or block[value] & 0x7F == 0x7F:
            return None
        shape = self._shapes.get(block[:at] + block[value + 1 + (block[value] & 0x7F) :])
        # A mark further on than where the field stood: it is part of something else.
        return shape if shape is not None and shape.start == value else None

    def _learn(self, block: bytes) -> tuple[T, bytes | None]:
        before = self._table.changes
        places, fields = self._decode(block)
        late = next((at for at, field in enumerate(fields) if field[0] == self._volatile), None)
        value = None if late is None else fields.pop(late)[1]
        made = self._make(fields)
        if self._table.changes != before:
            self._forget()
        elif len(block) <= _LONGEST:
            self._remember(block, made, None if late is None else places[late], value)
        return made, value

    def _decode(self, block: bytes) -> tuple[list[Span], list[Field]]:
        try:
            # The walk comes first: it bounds what hpack's own integers would cost.
            return list(spans(block)), [
                (bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True)
            ]
        except OversizedHeaderListError as fault:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, str(fault)) from None
        # hpack lets a few Python errors through on truncated input.
        except (HPACKError, IndexError, ValueError, TypeError) as fault:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, f"header block: {fault}") from None

    def _remember(self, block: bytes, made: T, late: Span | None, value: bytes | None) -> None:
        self._held += len(block)
        if self._held > _BUDGET:
            self._forget()
            self._held = len(block)
        if late is not None:
            start, at, end = late
            if at < end:
                self._mark = block[start:at]
                self._shapes[block[:start] + block[end:]] = _Shape(block[:at], block[end:], made)
                return
        self.known[block] = (made, value)

    def _forget(self) -> None:
        self.known.clear()
        self._shapes.clear()
        self._latest = None
        self._held = 0


def _huffman(text: bytes) -> bytes:
    try:
        return decode_huffman(text)
    except HPACKError as fault:
        raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, f"header block: {fault}") from None
