"""Ranges read in slices while the store goes on: one revision, bounded work, and an error when compaction passes."""

from __future__ import annotations

import pytest
from harness.memory_tables import MemoryTable, MemoryTables
from harness.plan import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mvcc_lease_book import Leases, Recorder
from mvcc_model import Model, Refused
from mvcc_pair import Pair, plain, relative
from mvcc_requests import deletes, puts, ranges

from kvstore.errors import EtcdError
from kvstore.mvcc.store import Store
from kvstore.pb import etcd_pb2 as pb

writes = st.one_of(puts(), puts(), puts(), deletes)


@settings(max_examples=examples(250), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(writes, max_size=15), ranges, st.integers(1, 4), st.lists(st.lists(writes, max_size=3), max_size=12))
def test_the_answer_is_that_of_the_pinned_revision(
    before: list, req: pb.RangeRequest, budget: int, between: list[list]
) -> None:
    pair = Pair()
    for write in before:
        pair.do(write)
    relative(req, pair.model.revision)
    try:
        expected = pair.model.range(req)
    except Refused:
        return
    kvs, rest = [], iter(between)
    slices = pair.store.range_slices(req, budget)
    for write in next(rest, []):  # the first slice may be read later, too
        pair.do(write)
    for part in slices:
        assert len(part.kvs) <= budget
        assert part.revision == expected[1]
        kvs += part.kvs
        for write in next(rest, []):
            pair.do(write)
    assert ("range", part.revision, kvs, part.more, part.count) == expected


def filled(count: int, tables: MemoryTables | None = None) -> Store:
    store = Store(tables or MemoryTables(), Leases(), Recorder())
    for number in range(count):
        store.put(pb.PutRequest(key=b"k%04d" % number, value=b"v"))
    return store


EVERYTHING = {"key": b"k", "range_end": b"l"}


def test_parts_before_the_last_say_nothing_of_the_whole() -> None:
    parts = list(filled(10).range_slices(pb.RangeRequest(**EVERYTHING), 4))
    assert [len(part.kvs) for part in parts] == [4, 4, 2]
    assert [(part.more, part.count) for part in parts] == [(False, 0), (False, 0), (False, 10)]


@pytest.mark.parametrize("options", [{}, {"sort_order": 2}, {"sort_target": 4}, {"limit": 3}, {"count_only": True}])
def test_what_is_written_before_the_first_slice_is_not_in_it(options: dict) -> None:
    store = filled(10)
    expected = plain(store.range(pb.RangeRequest(**EVERYTHING, **options)))
    slices = store.range_slices(pb.RangeRequest(**EVERYTHING, **options), 3)
    store.put(pb.PutRequest(key=b"k0001", value=b"new"))
    store.put(pb.PutRequest(key=b"k00005", value=b"new"))
    kvs = []
    for part in slices:
        kvs += part.kvs
    assert ("range", part.revision, kvs, part.more, part.count) == expected


@pytest.mark.parametrize("options", [{}, {"sort_order": 2}, {"sort_target": 4}, {"revision": 11}])
def test_compaction_up_to_the_revision_does_not_disturb_a_read(options: dict) -> None:
    store = filled(10)
    expected = plain(store.range(pb.RangeRequest(**EVERYTHING, **options)))
    slices = store.range_slices(pb.RangeRequest(**EVERYTHING, **options), 3)
    kvs = list(next(slices).kvs)
    store.put(pb.PutRequest(key=b"k0007", value=b"new"))
    store.compact(11)
    while not store.compact_step(2):
        pass
    for part in slices:
        kvs += part.kvs
    assert ("range", part.revision, kvs, part.more, part.count) == expected


@pytest.mark.parametrize("options", [{}, {"sort_order": 2}, {"sort_target": 4}, {"min_mod_revision": 2}])
def test_compaction_past_the_revision_ends_a_read(options: dict) -> None:
    store = filled(10)
    slices = store.range_slices(pb.RangeRequest(**EVERYTHING, **options), 3)
    next(slices)
    store.put(pb.PutRequest(key=b"k0007", value=b"new"))
    store.compact(12)
    with pytest.raises(EtcdError, match="compacted"):
        list(slices)


def test_bad_requests_are_refused_as_by_range() -> None:
    store = filled(3)
    with pytest.raises(EtcdError, match="key is not provided"):
        store.range_slices(pb.RangeRequest(), 5)
    with pytest.raises(EtcdError, match="future"):
        next(store.range_slices(pb.RangeRequest(key=b"k", revision=9), 5))


class CountingTables(MemoryTables):
    """Counts what is read from each table."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def table(self, name: str) -> MemoryTable:
        counter = self

        class Counted(MemoryTable):
            def get(self, key: bytes) -> bytes | None:
                counter.reads += 1
                return super().get(key)

            def scan(self, *args: object, **options: object):
                for pair in super().scan(*args, **options):  # type: ignore[arg-type]
                    counter.reads += 1
                    yield pair

        if name not in self.tables:
            self.tables[name] = Counted()
        return self.tables[name]


@pytest.mark.parametrize(
    ("options", "most"),
    [
        ({"limit": 10}, 10),
        ({"limit": 10, "sort_order": 2}, 10),
        ({"limit": 10, "sort_order": 1}, 10),
        ({"count_only": True}, 0),
        ({"limit": 10, "sort_target": 3, "sort_order": 2}, 10),
        ({"limit": 10, "min_mod_revision": 1500}, 10),
        ({"limit": 10, "revision": 1990}, 10 + 11),
        ({"count_only": True, "revision": 1990}, 11),
    ],
)
def test_a_limited_answer_reads_no_more_than_it_returns(options: dict, most: int) -> None:
    tables = CountingTables()
    store = filled(2000, tables)
    tables.reads = 0
    assert store.range(pb.RangeRequest(**EVERYTHING, **options)).count >= 1989
    assert tables.reads <= most


@pytest.mark.parametrize("options", [{}, {"sort_target": 4}, {"revision": 20}, {"min_create_revision": 3}])
def test_no_slice_does_more_than_its_budget(options: dict) -> None:
    tables = CountingTables()
    slices = filled(300, tables).range_slices(pb.RangeRequest(**EVERYTHING, **options), 10)
    while True:
        tables.reads = 0
        if next(slices, None) is None:
            break
        assert tables.reads <= 3 * 10  # looking for changes, filtering or sorting, reading


def test_the_size_of_a_range_is_known_beforehand() -> None:
    store = filled(50)
    assert store.range_size(pb.RangeRequest(**EVERYTHING)) == 50
    assert store.range_size(pb.RangeRequest(**EVERYTHING, limit=7)) == 7
    assert store.range_size(pb.RangeRequest(**EVERYTHING, limit=7, sort_target=4)) == 8
    assert store.range_size(pb.RangeRequest(**EVERYTHING, limit=7, sort_target=4, sort_order=1)) == 50
    assert store.range_size(pb.RangeRequest(**EVERYTHING, limit=7, min_mod_revision=4)) == 50
    assert store.range_size(pb.RangeRequest(**EVERYTHING, count_only=True)) == 0
    assert store.range_size(pb.RangeRequest(**EVERYTHING, count_only=True, revision=41)) == 10
    assert store.range_size(pb.RangeRequest(key=b"k0001")) == 1


def test_model_and_store_agree_on_an_empty_store() -> None:
    req = pb.RangeRequest(key=b"\0", range_end=b"\0")
    assert [plain(part) for part in filled(0).range_slices(req, 1)] == [Model().range(req)]
