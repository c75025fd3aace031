"""Merged permissions against the definition: a range is permitted if every key in it is."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from kvstore.auth.permissions import KeyRanges, Permissions, is_valid_range
from kvstore.pb.etcd_pb2 import Permission, Role

# Every key of up to three of these bytes: small enough to try them all, with the bytes that ranges are made of.
ALPHABET = b"\x00a\xff"
UNIVERSE = sorted(bytes(key) for size in (1, 2, 3) for key in product(ALPHABET, repeat=size))
keys = st.sampled_from([key for key in UNIVERSE if len(key) < 3])
ends = st.one_of(st.just(b""), st.just(b"\0"), keys)
ranges = st.lists(st.tuples(keys, ends), max_size=6)


def inside(key: bytes, begin: bytes, end: bytes) -> bool:
    """etcd's reading of (key, range_end)."""
    if not end:
        return key == begin
    return begin <= key and (end == b"\0" or key < end)


@given(ranges, keys)
def test_single_keys(granted: list[tuple[bytes, bytes]], key: bytes) -> None:
    expected = any(inside(key, begin, end) for begin, end in granted)
    assert KeyRanges(granted).hold(key, b"") == expected


@given(ranges, keys, ends)
def test_ranges(granted: list[tuple[bytes, bytes]], key: bytes, end: bytes) -> None:
    """Sound on every key, and complete where the end is open or the range is not empty."""
    held = KeyRanges(granted).hold(key, end)
    wanted = [k for k in UNIVERSE if inside(k, key, end)]
    if held:
        assert all(any(inside(k, *grant) for grant in granted) for k in wanted)
    # One grant that covers it is enough, whatever else is granted.
    if any(begin <= key and (e == b"\0" or (end not in (b"", b"\0") and key < end <= e)) for begin, e in granted):
        assert held


@given(ranges, keys, keys)
def test_neighbours_make_one_range(granted: list[tuple[bytes, bytes]], first: bytes, last: bytes) -> None:
    """Cutting a granted range in two changes nothing."""
    if first >= last:
        return
    middle = first + b"\0"
    assert KeyRanges([*granted, (first, middle), (middle, last)]).hold(first, last)


def test_the_open_end_is_not_covered_by_any_other() -> None:
    assert not KeyRanges([(b"a", b"\xff\xff\xff")]).hold(b"b", b"\0")
    assert KeyRanges([(b"a", b"\0")]).hold(b"b", b"\0")
    assert KeyRanges([(b"a", b"c"), (b"b", b"\0")]).hold(b"a", b"\0")


def test_empty_grants_count_for_nothing() -> None:
    assert not KeyRanges([(b"b", b"a"), (b"b", b"b")]).hold(b"b", b"")


def test_kinds_of_permissions() -> None:
    role = Role(
        name=b"r",
        keyPermission=[
            Permission(permType=Permission.READ, key=b"r"),
            Permission(permType=Permission.WRITE, key=b"w"),
            Permission(permType=Permission.READWRITE, key=b"x", range_end=b"z"),
        ],
    )
    user = Permissions([role, Role(name=b"empty")], root=False)
    assert [user.may_read(k, b"") for k in (b"r", b"w", b"x", b"y", b"z")] == [True, False, True, True, False]
    assert [user.may_write(k, b"") for k in (b"r", b"w", b"x", b"y", b"z")] == [False, True, True, True, False]
    root = Permissions([], root=True)
    assert root.may_read(b"\0", b"\0")
    assert root.may_write(b"\0", b"\0")


def test_which_ranges_can_be_granted() -> None:
    valid = [(b"a", b""), (b"a", b"b"), (b"a", b"\0"), (b"\0", b"\0")]
    invalid = [(b"", b""), (b"", b"\0"), (b"b", b"a"), (b"b", b"b")]
    assert [is_valid_range(*r) for r in valid + invalid] == [True] * 4 + [False] * 4
