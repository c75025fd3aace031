"""RangeIndex against the obvious scan over all ranges."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from kvstore.mvcc import watch_index
from kvstore.mvcc.watch_index import RangeIndex

keys = st.binary(min_size=1, max_size=2).map(lambda b: bytes(byte % 5 + 97 for byte in b))
ranges = st.tuples(keys, st.one_of(st.none(), keys)).filter(lambda r: r[1] is None or r[0] < r[1])


def covers(start: bytes, end: bytes | None, key: bytes) -> bool:
    return start <= key and (end is None or key < end)


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), ranges), max_size=40), st.sampled_from([1, 3, 256]))
def test_matches_are_those_of_a_scan(steps: list[tuple[bool, tuple[bytes, bytes | None]]], most: int) -> None:
    whole = watch_index.MAX_COVER
    watch_index.MAX_COVER = most  # small bounds bring ranges into the plain list
    try:
        check(steps)
    finally:
        watch_index.MAX_COVER = whole


def check(steps: list[tuple[bool, tuple[bytes, bytes | None]]]) -> None:
    index: RangeIndex[int] = RangeIndex()
    there: dict[int, tuple[bytes, bytes | None]] = {}
    for number, (remove, (start, end)) in enumerate(steps):
        if remove and there:
            gone, (start, end) = there.popitem()
            index.remove_range(start, end, gone)
        else:
            there[number] = (start, end)
            index.add_range(start, end, number)
        for key in (b"a", b"b", b"bb", b"c", b"cd", b"d", b"e", b"ee", b"zz", b"A"):
            assert sorted(index.match(key)) == sorted(n for n, (s, e) in there.items() if covers(s, e, key))
    for number, (start, end) in there.items():
        index.remove_range(start, end, number)
    assert index.bounds == []
    assert index.cover == [()]
    assert index.wide == ()


def test_exact_keys() -> None:
    index: RangeIndex[str] = RangeIndex()
    index.add_key(b"k", "one")
    index.add_key(b"k", "two")
    index.add_range(b"a", b"z", "range")
    assert index.match(b"k") == ["one", "two", "range"]
    index.remove_key(b"k", "one")
    assert index.match(b"k") == ["two", "range"]
    index.remove_key(b"k", "two")
    assert index.match(b"k") == ["range"]
    assert index.exact == {}


def test_nested_ranges_do_not_grow_with_the_square() -> None:
    index: RangeIndex[int] = RangeIndex()
    for n in range(3000):
        index.add_range(b"a%06d" % n, b"b%06d" % (9999 - n), n)
    held = sum(map(len, index.cover)) + len(index.wide)
    assert held < 3000 * watch_index.MAX_COVER / 10
    assert len(index.match(b"b")) == 3000
