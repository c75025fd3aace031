"""Keys of any bytes and length become distinct table keys that LMDB takes, versions in order."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from kvstore.mvcc.table_keys import LONGEST_PLAIN, live_key, version_key, version_prefix
from kvstore.mvcc.types import pack

LMDB_LIMIT = 511

# Zeros, 0xff and lengths around the limit are what could collide.
tail = st.text(alphabet="\0\x01\xff", max_size=6).map(lambda text: text.encode("latin-1"))
sizes = st.sampled_from([0, 1, *range(LONGEST_PLAIN - 8, LONGEST_PLAIN + 3), 600, 5000])
any_key = st.builds(
    lambda fill, size, end: fill * size + end or b"k", st.sampled_from([b"a", b"\0", b"\xff"]), sizes, tail
)
revisions = st.builds(pack, st.integers(2, (1 << 62)), st.integers(0, (1 << 32) - 1))


@given(any_key, revisions)
def test_fits_lmdb(key: bytes, revision: int) -> None:
    assert len(live_key(key)) <= LMDB_LIMIT
    assert len(version_key(key, revision)) <= LMDB_LIMIT


@given(any_key, any_key, revisions, revisions)
def test_two_keys_never_meet(first: bytes, second: bytes, one: int, other: int) -> None:
    if first != second:
        assert live_key(first) != live_key(second)
        assert version_key(first, one) != version_key(second, other)


@given(any_key, revisions, revisions)
def test_versions_of_a_key_are_in_revision_order(key: bytes, one: int, other: int) -> None:
    assert (one < other) == (version_key(key, one) < version_key(key, other))


@example(b"a", b"a\0\0\0\0", pack(2))
@example(b"a", b"a\0\xff", pack(2))
@example(b"a\0", b"a\0\0", pack(2))
@given(any_key, any_key, revisions)
def test_no_other_key_stands_among_a_keys_versions(key: bytes, other: bytes, revision: int) -> None:
    stranger = version_key(other, revision)
    prefix = version_prefix(key)
    inside = prefix + bytes(12) <= stranger < prefix + b"\x80"  # main revisions are int64
    whole = len(key) < LONGEST_PLAIN // 2  # longer ones end in a digest, which nobody can foresee
    if key != other and (whole or len(stranger) == len(prefix) + 12):
        assert not inside


def test_the_table_key_says_whether_it_is_shortened() -> None:
    assert live_key(b"k" * LONGEST_PLAIN) == b"k" * LONGEST_PLAIN
    assert len(live_key(b"k" * (LONGEST_PLAIN + 1))) > LONGEST_PLAIN
