"""Reads a bbolt file through mmap, and believes nothing: every number is checked before it is followed.

Invariants: a page is only read inside the pages that the meta page counts; keys of a bucket ascend; no page is met
twice in one walk, so that a walk ends however the pages point at each other.
Faults assumed: any bytes at all. bbolt has no checksums but those of its meta pages, so altered keys and values go
unseen here: whoever needs to know asks the SHA-256 behind the file. A file that is cut while it is read is not
survived.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path

from kvstore.storage.bolt.format import (
    BRANCH,
    BRANCH_ELEMENT,
    BUCKET,
    BUCKET_ELEMENT,
    LEAF,
    LEAF_ELEMENT,
    META_BYTES,
    PAGE,
    BoltDamaged,
    Meta,
    decode_meta,
)

_MAX_DEPTH = 64
_PAGE_SIZES = tuple(1 << n for n in range(9, 18))


class BoltFile:
    """The buckets of one file, read only. A context manager."""

    def __init__(self, path: str | os.PathLike[str], size: int | None = None) -> None:
        """size: bytes of the file that count, None for all. Raises BoltDamaged, OSError."""
        self.path = Path(path)
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            length = os.fstat(fd).st_size
            self.size = length if size is None else min(size, length)
            if self.size < 2 * META_BYTES:
                raise self.damaged(f"{self.size} bytes are too few for a bbolt file")
            self._map = mmap.mmap(fd, length, access=mmap.ACCESS_READ)
        finally:
            os.close(fd)
        try:
            self.meta = self._find_meta()
            self._roots = self._read_roots()
        except BaseException:
            self._map.close()
            raise

    def __enter__(self) -> BoltFile:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._map.close()

    @property
    def data_bytes(self) -> int:
        """Bytes of all pages that the meta page counts."""
        return self.meta.pages * self.meta.page_bytes

    def buckets(self) -> list[bytes]:
        """The names of all buckets, in order."""
        return list(self._roots)

    def bucket(self, name: bytes) -> Iterator[tuple[bytes, bytes]]:
        """A bucket's pairs in order; nothing if there is no such bucket. Raises BoltDamaged."""
        value = self._roots.get(name)
        if value is None:
            return iter(())
        root = BUCKET.unpack_from(value)[0]
        if root:
            pairs = self._walk(root)
        else:
            pairs = ((k, v) for _, k, v in self._leaf(value[BUCKET.size :], "an inline bucket"))
        return self._ascending(pairs, name)

    def damaged(self, reason: str) -> BoltDamaged:
        """The error for whoever finds something wrong with this file."""
        return BoltDamaged(f"{self.path}: damaged, or no snapshot: {reason}")

    # ---- the beginning

    def _find_meta(self) -> Meta:
        found = decode_meta(self._map[:META_BYTES])
        candidates = [found] if found else []
        for size in (found.page_bytes,) if found else _PAGE_SIZES:
            other = decode_meta(self._map[size : size + META_BYTES])
            if other is not None and other.page_bytes == size:
                candidates.append(other)
        if not candidates:
            raise self.damaged("neither meta page is whole")
        meta = max(candidates, key=lambda candidate: candidate.transaction)
        if meta.page_bytes not in _PAGE_SIZES:
            raise self.damaged(f"a page size of {meta.page_bytes} bytes")
        if meta.pages * meta.page_bytes > self.size:
            raise self.damaged(f"it is cut: {self.size} bytes are there of {meta.pages * meta.page_bytes}")
        return meta

    def _read_roots(self) -> dict[bytes, bytes]:
        roots: dict[bytes, bytes] = {}
        for flags, key, value in self._elements(self.meta.root, 0, set()):
            if not flags & BUCKET_ELEMENT or len(value) < BUCKET.size:
                raise self.damaged(f"{key!r} in the root bucket is no bucket")
            roots[key] = value
        return roots

    # ---- pages

    def _walk(self, page: int) -> Iterator[tuple[bytes, bytes]]:
        for flags, key, value in self._elements(page, 0, set()):
            if flags & BUCKET_ELEMENT:
                raise self.damaged(f"an unexpected bucket {key!r} inside another one")
            yield key, value

    def _elements(self, number: int, depth: int, seen: set[int]) -> Iterator[tuple[int, bytes, bytes]]:
        """(flags, key, value) of all leaves under a page."""
        if number in seen or depth > _MAX_DEPTH:
            raise self.damaged(f"page {number} is pointed at twice")
        seen.add(number)
        data = self._page(number)
        kind = PAGE.unpack_from(data)[1]
        if kind & LEAF:
            yield from self._leaf(data, f"page {number}")
        elif kind & BRANCH:
            for child in self._children(data, number):
                yield from self._elements(child, depth + 1, seen)
        else:
            raise self.damaged(f"page {number} is neither branch nor leaf")

    def _page(self, number: int) -> bytes:
        """The page with what it goes on over."""
        meta = self.meta
        if not 2 <= number < meta.pages:
            raise self.damaged(f"a pointer to page {number} of {meta.pages}")
        start = number * meta.page_bytes
        own, _, _, overflow = PAGE.unpack_from(self._map, start)
        if own != number:
            raise self.damaged(f"page {number} says that it is page {own}")
        if number + overflow >= meta.pages:
            raise self.damaged(f"page {number} goes on beyond the file's end")
        return self._map[start : start + (1 + overflow) * meta.page_bytes]

    def _leaf(self, data: bytes, where: str) -> Iterator[tuple[int, bytes, bytes]]:
        size = len(data)
        if size < PAGE.size:
            raise self.damaged(f"{where} is cut")
        _, kind, count, _ = PAGE.unpack_from(data)
        if not kind & LEAF or PAGE.size + count * LEAF_ELEMENT.size > size:
            raise self.damaged(f"{where} is no whole leaf")
        at = PAGE.size
        for _ in range(count):
            flags, position, key_size, value_size = LEAF_ELEMENT.unpack_from(data, at)
            start = at + position
            middle = start + key_size
            end = middle + value_size
            if end > size:
                raise self.damaged(f"an element of {where} lies outside it")
            yield flags, data[start:middle], data[middle:end]
            at += LEAF_ELEMENT.size

    def _children(self, data: bytes, number: int) -> list[int]:
        count = PAGE.unpack_from(data)[2]
        end = PAGE.size + count * BRANCH_ELEMENT.size
        if not count or end > len(data):
            raise self.damaged(f"page {number} is no whole branch")
        return [BRANCH_ELEMENT.unpack_from(data, at)[2] for at in range(PAGE.size, end, BRANCH_ELEMENT.size)]

    def _ascending(self, pairs: Iterator[tuple[bytes, bytes]], name: bytes) -> Iterator[tuple[bytes, bytes]]:
        last = b""
        for key, value in pairs:
            if key <= last:
                raise self.damaged(f"the keys of bucket {name.decode(errors='replace')} are out of order")
            last = key
            yield key, value
