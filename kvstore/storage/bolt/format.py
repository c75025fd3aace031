"""The parts of a bbolt file: pages, their elements, and the two meta pages that say which state is the last whole one.

A file is a row of pages of one size. Pages 0 and 1 are meta pages; the valid one with the higher transaction id counts.
It names the page of the free list and the root bucket, whose values are buckets. A bucket is a B+tree of leaf and
branch pages; a page whose content is larger than one page goes on over the pages that follow it. A small bucket may
stand whole inside its parent's value. All numbers are little-endian.
Source: bbolt's page, meta, bucket and freelist structures, as they are laid out in its files.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from kvstore.storage.errors import StorageError

MAGIC: Final = 0xED0CDAED
VERSION: Final = 2
PAGE_BYTES: Final = 4096

BRANCH: Final = 0x01
LEAF: Final = 0x02
META: Final = 0x04
FREELIST: Final = 0x10

BUCKET_ELEMENT: Final = 0x01
"""Flag of a leaf element whose value is a bucket."""

# id, flags, number of elements, pages that follow and belong to it
PAGE: Final = Struct("<QHHI")
# position (from this very element on) and length of the key, the child's page
BRANCH_ELEMENT: Final = Struct("<IIQ")
# flags, position (from this very element on), lengths of key and value
LEAF_ELEMENT: Final = Struct("<IIII")
# root page (0: the bucket's one page follows in place), sequence
BUCKET: Final = Struct("<QQ")
# magic, version, page size, flags, root bucket (page, sequence), free list's page, number of pages, transaction
_META: Final = Struct("<IIIIQQQQQ")
_CHECKSUM: Final = Struct("<Q")
META_BYTES: Final = PAGE.size + _META.size + _CHECKSUM.size

MAX_ELEMENTS: Final = 0xFFFE
"""Elements of one page (0xffff has a meaning of its own in free lists)."""

_FNV_OFFSET: Final = 0xCBF29CE484222325
_FNV_PRIME: Final = 0x100000001B3
_MASK: Final = (1 << 64) - 1


class BoltDamaged(StorageError):
    """The file is not a whole bbolt file; the message is one line."""


class Meta(NamedTuple):
    """What a meta page says; sizes in bytes, pages counted from the file's beginning."""

    page_bytes: int
    root: int
    freelist: int
    pages: int
    transaction: int


def fnv64(data: bytes) -> int:
    """FNV-1a, 64 bit: the checksum of meta pages."""
    value = _FNV_OFFSET
    for byte in data:
        value = (value ^ byte) * _FNV_PRIME & _MASK
    return value


def encode_meta(number: int, meta: Meta) -> bytes:
    """Meta page 0 or 1, of a whole page's length."""
    body = _META.pack(MAGIC, VERSION, meta.page_bytes, 0, meta.root, 0, meta.freelist, meta.pages, meta.transaction)
    page = PAGE.pack(number, META, 0, 0) + body + _CHECKSUM.pack(fnv64(body))
    return page.ljust(meta.page_bytes, b"\0")


def decode_meta(data: bytes) -> Meta | None:
    """The meta in the first META_BYTES of a page; None if it is none, or not whole."""
    if len(data) < META_BYTES:
        return None
    body = data[PAGE.size : PAGE.size + _META.size]
    magic, version, page_bytes, _, root, _, freelist, pages, transaction = _META.unpack(body)
    (checksum,) = _CHECKSUM.unpack_from(data, PAGE.size + _META.size)
    if magic != MAGIC or version != VERSION or checksum != fnv64(body):
        return None
    return Meta(page_bytes, root, freelist, pages, transaction)
