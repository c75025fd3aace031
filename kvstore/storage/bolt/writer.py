"""Writes a bbolt file from sorted pairs, bottom-up: leaves as they fill, branches as leaves are done, meta pages last.

Memory holds one unfinished page a level of one tree, whatever the file's size. Every page from 3 on belongs to a bucket
and the free list is empty, so that bbolt's own check finds nothing to say.
Invariants: keys of a bucket are strictly ascending, so are the buckets' names; the file is no bbolt file before
finish().
Faults assumed: OSError of the file is the caller's, who throws the file away.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import BinaryIO

from kvstore.invariant import InvariantViolation, invariant
from kvstore.storage.bolt.format import (
    BRANCH,
    BRANCH_ELEMENT,
    BUCKET,
    BUCKET_ELEMENT,
    FREELIST,
    LEAF,
    LEAF_ELEMENT,
    MAX_ELEMENTS,
    PAGE,
    PAGE_BYTES,
    Meta,
    encode_meta,
)

_FIRST_PAGE = 3
_FREELIST_PAGE = 2
_ELEMENT_BYTES = 16
_MOST_HEADS = 256


class BoltWriter:
    """One new file. Call bucket() for every bucket in the order of their names, then finish()."""

    def __init__(self, file: BinaryIO) -> None:
        """file: empty, open for writing and seeking; it stays the caller's to sync and close."""
        self._file = file
        self._next = _FIRST_PAGE
        self._roots: list[tuple[bytes, int]] = []
        file.write(bytes(_FIRST_PAGE * PAGE_BYTES))

    def bucket(self, name: bytes, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """Write a bucket with all its pairs, which are sorted by key; no key is empty."""
        invariant(not self._roots or self._roots[-1][0] < name, f"bucket {name!r} is out of order")
        tree = _Tree(self)
        tree.fill(pairs)
        self._roots.append((name, tree.finish()))

    def finish(self) -> int:
        """Write the root bucket and the meta pages; the file's size in bytes."""
        root = _Tree(self, flags=BUCKET_ELEMENT)
        for name, page in self._roots:
            root.add(name, BUCKET.pack(page, 0))
        meta = Meta(PAGE_BYTES, root.finish(), _FREELIST_PAGE, self._next, 1)
        file = self._file
        file.seek(0)
        file.write(encode_meta(0, meta._replace(transaction=0)))
        file.write(encode_meta(1, meta))
        file.write(PAGE.pack(_FREELIST_PAGE, FREELIST, 0, 0))
        file.flush()
        return self._next * PAGE_BYTES

    def page(self, flags: int, count: int, heads: bytes, parts: Iterable[bytes] = ()) -> int:
        """Write a page, and those that it goes on over, of elements and what they point at; its number. Hot."""
        number = self._next
        content = b"".join((heads, *parts))
        size = PAGE.size + len(content)
        pages = -(-size // PAGE_BYTES)
        padding = bytes(pages * PAGE_BYTES - size)
        self._file.write(b"".join((PAGE.pack(number, flags, count, pages - 1), content, padding)))
        self._next += pages
        return number


class _Tree:
    """One B+tree: its unfinished leaf, and the unfinished branch of each level above."""

    def __init__(self, writer: BoltWriter, flags: int = 0) -> None:
        self._writer = writer
        self._flags = flags
        self._leaf: list[tuple[bytes, bytes]] = []
        self._size = PAGE.size
        self._last = b""
        self._levels: list[_Branch] = []
        self._heads: dict[tuple[int, ...], bytes] = {}

    def add(self, key: bytes, value: bytes) -> None:
        """The next pair."""
        self.fill(((key, value),))

    def fill(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """The next pairs. Hot: once for each revision of a snapshot."""
        leaf, size, last = self._leaf, self._size, self._last
        for pair in pairs:
            key, value = pair
            if key <= last:
                raise InvariantViolation(f"key {key!r} is out of order")
            last = key
            own = _ELEMENT_BYTES + len(key) + len(value)
            if (size + own > PAGE_BYTES and leaf) or len(leaf) == MAX_ELEMENTS:
                self._flush()
                leaf, size = self._leaf, self._size
            leaf.append(pair)
            size += own
        self._size, self._last = size, last

    def _flush(self) -> None:
        """Write the leaf and tell the level above."""
        leaf = self._leaf
        parts = list(chain.from_iterable(leaf))
        sizes = tuple(map(len, parts))
        heads = self._heads.get(sizes) or self._make_heads(sizes)
        page = self._writer.page(LEAF, len(leaf), heads, parts)
        self._up(0, leaf[0][0] if leaf else b"", page)
        self._leaf = []
        self._size = PAGE.size

    def _make_heads(self, sizes: tuple[int, ...]) -> bytes:
        """The elements of a leaf whose keys and values, in turn, have these sizes. Leaves are often like others."""
        at = _ELEMENT_BYTES * (len(sizes) // 2)  # of the data, from the element that is being made on
        heads: list[bytes] = []
        for key, value in zip(sizes[::2], sizes[1::2], strict=True):
            heads.append(LEAF_ELEMENT.pack(self._flags, at, key, value))
            at += key + value - _ELEMENT_BYTES
        if len(self._heads) >= _MOST_HEADS:
            self._heads.clear()
        made = self._heads[sizes] = b"".join(heads)
        return made

    def _up(self, level: int, key: bytes, page: int) -> None:
        """A page of `level` (0: leaves) is written: its parent learns of it."""
        if level == len(self._levels):
            self._levels.append(_Branch())
        branch = self._levels[level]
        if not branch.takes(key):
            self._flush_branch(level)
        branch.add(key, page)

    def _flush_branch(self, level: int) -> None:
        branch = self._levels[level]
        first = branch.children[0][0]
        self._up(level + 1, first, self._writer.page(BRANCH, len(branch.children), branch.encode()))
        branch.clear()

    def finish(self) -> int:
        """Write what is unfinished; the root's page. An empty tree is one empty leaf."""
        if self._leaf or not self._levels:
            self._flush()
        level = 0
        while level < len(self._levels) - 1 or len(self._levels[level].children) > 1:
            if self._levels[level].children:
                self._flush_branch(level)
            level += 1
        return self._levels[level].children[0][1]


class _Branch:
    """A branch page in the making."""

    def __init__(self) -> None:
        self.children: list[tuple[bytes, int]] = []
        self._size = PAGE.size

    def takes(self, key: bytes) -> bool:
        """Whether one more child fits. Two always do: the levels have to grow fewer."""
        fits = self._size + _ELEMENT_BYTES + len(key) <= PAGE_BYTES
        return len(self.children) < 2 or (fits and len(self.children) < MAX_ELEMENTS)

    def add(self, key: bytes, page: int) -> None:
        self.children.append((key, page))
        self._size += _ELEMENT_BYTES + len(key)

    def encode(self) -> bytes:
        """What stands behind the page's head."""
        at = _ELEMENT_BYTES * len(self.children)
        heads: list[bytes] = []
        for key, page in self.children:
            heads.append(BRANCH_ELEMENT.pack(at, len(key), page))
            at += len(key) - _ELEMENT_BYTES
        return b"".join(heads) + b"".join(key for key, _ in self.children)

    def clear(self) -> None:
        self.children = []
        self._size = PAGE.size
