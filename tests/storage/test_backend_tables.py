"""Tables: what is written is seen at once, in key order, through commits."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.plan import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvstore.invariant import InvariantViolation
from kvstore.mvcc.types import Tables
from kvstore.storage import Backend


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    made = Backend.open(tmp_path / "backend", map_bytes=1 << 30, headroom_bytes=1 << 16)
    yield made
    made.close()


def test_it_is_what_mvcc_asks_for(backend: Backend) -> None:
    tables: Tables = backend
    table = tables.table("keys")
    assert tables.table("keys") is table
    assert table.get(b"a") is None
    table.put(b"a", b"1")
    table.put(b"a", b"2")
    table.put(b"empty", b"")
    assert (table.get(b"a"), table.get(b"empty")) == (b"2", b"")
    assert table.delete(b"a")
    assert not table.delete(b"a")
    assert table.get(b"a") is None
    assert tables.table("other").get(b"empty") is None


def test_writes_are_seen_across_commits_and_openings(backend: Backend, tmp_path: Path) -> None:
    table = backend.table("keys")
    for number in range(5):
        table.put(b"%d" % number, b"v")
        backend.commit()
        table.put(b"x", b"%d" % number)
        assert table.get(b"%d" % number) == b"v"
        backend.sync()
    backend.commit()
    backend.close()
    again = Backend.open(tmp_path / "backend", map_bytes=1 << 30)
    assert list(again.table("keys").scan()) == [(b"%d" % i, b"v") for i in range(5)] + [(b"x", b"4")]
    again.close()


def test_many_are_deleted_at_once_wherever_they_are(backend: Backend) -> None:
    table = backend.table("keys")
    for key in (b"a", b"b", b"c", b"d"):
        table.put(key, b"old")
    backend.commit()
    backend.sync()
    table.put(b"c", b"not given to LMDB yet")
    table.put(b"e", b"nor this")
    table.journal = set()
    table.delete_all([b"e", b"a", b"never there", b"c"])
    assert list(table.scan()) == [(b"b", b"old"), (b"d", b"old")]
    assert table.journal >= {b"a", b"c", b"e"}, "a copy that is being made hears of it"
    backend.commit()
    assert not table.dirty
    table.delete_all([])
    assert not table.dirty


def test_dirty_and_needs_sync(backend: Backend) -> None:
    assert not backend.dirty
    backend.commit()
    assert not backend.needs_sync
    table = backend.table("keys")
    assert backend.dirty
    table.put(b"a", b"1")
    backend.commit()
    assert (backend.dirty, backend.needs_sync) == (False, True)
    table.put(b"b", b"1")
    with pytest.raises(InvariantViolation, match="before the one before it is synced"):
        backend.commit()
    backend.sync()
    assert not backend.needs_sync
    backend.commit()
    assert backend.needs_sync


@pytest.mark.parametrize("key", [b"", b"k" * 512])
def test_keys_that_lmdb_does_not_take_are_the_caller_s_error(backend: Backend, key: bytes) -> None:
    table = backend.table("keys")
    for write in (lambda: table.put(key, b""), lambda: table.append(key, b"")):
        with pytest.raises(InvariantViolation, match="1 to 511"):
            write()
    assert table.get(b"k" * 512) is None
    with pytest.raises(InvariantViolation, match="1 to 511"):
        table.get(b"")
    assert list(table.scan(b"k" * 600, b"l" * 600)) == []
    table.put(b"k" * 511, b"fits")
    assert table.get(b"k" * 511) == b"fits"


def test_append_refuses_a_key_that_is_not_the_greatest(backend: Backend) -> None:
    table = backend.table("history")
    table.append(b"b", b"1")
    table.append(b"c", b"2")
    for key in (b"a", b"c"):
        with pytest.raises(InvariantViolation, match="not the greatest"):
            table.append(key, b"3")
    assert list(table.scan()) == [(b"b", b"1"), (b"c", b"2")]


KEYS = st.binary(min_size=1, max_size=3)


@settings(max_examples=examples(80), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pairs=st.dictionaries(KEYS, st.binary(max_size=3), max_size=30),
    gone=st.lists(KEYS, max_size=5),
    start=st.binary(max_size=3),
    end=st.none() | st.binary(max_size=3),
    reverse=st.booleans(),
)
def test_scans_agree_with_a_sorted_dict(
    backend: Backend,
    pairs: dict[bytes, bytes],
    gone: list[bytes],
    start: bytes,
    end: bytes | None,
    reverse: bool,
) -> None:
    table = backend.table("scanned")
    for key, _ in list(table.scan()):
        table.delete(key)
    for key, value in pairs.items():
        table.put(key, value)
    for key in gone:
        assert table.delete(key) == (pairs.pop(key, None) is not None)
    expected = sorted(pair for pair in pairs.items() if start <= pair[0] and (end is None or pair[0] < end))
    assert list(table.scan(start, end, reverse=reverse)) == (expected[::-1] if reverse else expected)


def test_a_view_of_another_thread_sees_the_last_commit(backend: Backend) -> None:
    table = backend.table("keys")
    table.put(b"a", b"committed")
    backend.commit()
    backend.sync()
    table.put(b"a", b"open")
    late = backend.table("late")
    late.put(b"x", b"y")
    seen: list[object] = []
    entered, left = threading.Event(), threading.Event()

    def look() -> None:
        with backend.read() as view:
            entered.set()
            left.wait(10)
            seen.append(view.table("keys").get(b"a"))
            seen.append(list(view.table("keys").scan(b"a", b"b")))
            seen.append(list(view.table("late").scan()))
            seen.append(view.table("late").get(b"x"))
            seen.append(view.table("never").get(b"x"))

    thread = threading.Thread(target=look)
    thread.start()
    entered.wait(10)
    backend.commit()
    left.set()
    thread.join()
    assert seen == [b"committed", [(b"a", b"committed")], [], None, None]
    with backend.read() as view:
        assert view.table("late").get(b"x") == b"y"


def test_sizes(backend: Backend) -> None:
    table = backend.table("keys")
    for number in range(2000):
        table.put(b"%06d" % number, bytes(500))
    backend.commit()
    backend.sync()
    full = backend.size_in_use()
    assert 1_000_000 < full <= backend.size()
    for number in range(2000):
        table.delete(b"%06d" % number)
    assert backend.size_in_use() < 100_000
    assert backend.size() >= full


def test_the_map_grows_before_it_is_full(tmp_path: Path) -> None:
    backend = Backend.open(tmp_path / "backend", map_bytes=1 << 20, headroom_bytes=1 << 16)
    table = backend.table("keys")
    for number in range(40):
        table.put(b"%06d" % number, bytes(100_000))
        backend.commit()
        backend.sync()
    assert backend.size() > 4_000_000
    backend.close()
    again = Backend.open(tmp_path / "backend", map_bytes=1 << 20)
    assert len(list(again.table("keys").scan())) == 40
    again.close()
