"""What the log answers, before and after it was closed and opened again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from log_picture import EVERYTHING, entries, entry, meta, picture

from kvstore.invariant import InvariantViolation
from kvstore.raft.storage import Compacted, LogStorage, Unavailable
from kvstore.raft.types import ConfState, HardState, SnapshotMeta
from kvstore.storage import Log, LogDamaged, StorageError, StorageFailed

SMALL = 4096
Reopen = Callable[..., Log]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    made = Log.create(tmp_path / "log", metadata=b"cluster 7", segment_bytes=SMALL)
    yield made
    made.close()


def reopened(log: Log, tmp_path: Path, **options: int) -> Log:
    log.close()
    return Log.open(tmp_path / "log", segment_bytes=SMALL, **options)


def segment_files(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "log").glob("*.wal"))


def test_a_new_log_is_empty(log: Log) -> None:
    storage: LogStorage = log
    assert storage.initial_state() == (HardState(), ConfState())
    assert (storage.first_index(), storage.last_index(), storage.term(0)) == (1, 0, 0)
    assert storage.snapshot_meta() == SnapshotMeta()
    assert log.metadata == b"cluster 7"


def test_entries_and_hard_state_are_found_again(log: Log, tmp_path: Path) -> None:
    log.append([entry(1), entry(2, kind=1), entry(3, term=2, data=b"")], HardState(2, 3, 1))
    log.append([], HardState(3, 1, 2))
    before = picture(log)
    assert before.entries == ((1, 1, 0, b"1@1"), (2, 1, 1, b"2@1"), (3, 2, 0, b""))
    assert before.hard_state == HardState(3, 1, 2)
    after = reopened(log, tmp_path)
    assert picture(after) == before
    assert after.torn is None
    assert after.metadata == b"cluster 7"
    after.close()


def test_appending_nothing_writes_nothing(log: Log) -> None:
    log.sync()
    log.append([])
    assert not log.needs_sync


def test_needs_sync_until_synced(log: Log) -> None:
    assert not log.needs_sync
    log.append([entry(1)])
    assert log.needs_sync
    log.sync()
    assert not log.needs_sync


def test_a_later_entry_overrides_those_from_its_index_on(log: Log, tmp_path: Path) -> None:
    log.append(entries(1, 5))
    log.append(entries(3, 1, term=2))
    assert (log.last_index(), log.term(2), log.term(3)) == (3, 1, 2)
    before = picture(log)
    log.append(entries(4, 2, term=3))
    assert [one.term for one in log.entries(1, 6, EVERYTHING)] == [1, 1, 2, 3, 3]
    after = reopened(log, tmp_path)
    assert picture(after).entries[:3] == before.entries
    assert after.last_index() == 5
    after.close()


def test_entries_stop_at_max_bytes_but_give_one(log: Log) -> None:
    log.append(entries(1, 5, size=100))
    assert len(log.entries(1, 6, 0)) == 1
    assert len(log.entries(1, 6, 299)) == 2
    assert len(log.entries(1, 6, 300)) == 3
    assert len(log.entries(2, 4, EVERYTHING)) == 2
    assert log.entries(3, 3, EVERYTHING) == []


def test_indexes_outside_the_log(log: Log) -> None:
    log.append(entries(1, 3))
    for call in (lambda: log.term(4), lambda: log.entries(3, 5, 1)):
        with pytest.raises(Unavailable):
            call()
    with pytest.raises(Compacted):
        log.entries(0, 2, 1)


@pytest.mark.parametrize("first", [0, 5])
def test_entries_that_do_not_join_are_refused_before_the_disk(log: Log, tmp_path: Path, first: int) -> None:
    log.append(entries(1, 3))
    with pytest.raises(InvariantViolation, match="does not join"):
        log.append(entries(first, 2))
    with pytest.raises(InvariantViolation, match="not contiguous"):
        log.append([entry(4), entry(6)])
    after = reopened(log, tmp_path)
    assert after.last_index() == 3
    after.close()


def test_a_log_of_many_segments(log: Log, tmp_path: Path) -> None:
    for index in range(1, 100):
        log.append(entries(index, 1, size=300), HardState(1, 1, index - 1))
        if index % 7 == 0:
            log.sync()
    before = picture(log)
    after = reopened(log, tmp_path)
    assert len(segment_files(tmp_path)) > 5
    assert after.size == len(segment_files(tmp_path)) * SMALL
    assert picture(after) == before
    after.append(entries(100, 1))
    assert after.last_index() == 100
    after.close()


def test_a_batch_larger_than_a_segment(log: Log, tmp_path: Path) -> None:
    log.append(entries(1, 1))
    log.append(entries(2, 3, size=3 * SMALL))
    log.append(entries(5, 1))
    before = picture(log)
    after = reopened(log, tmp_path)
    assert picture(after) == before
    after.close()


def test_entries_that_left_the_cache_are_read_from_disk(tmp_path: Path) -> None:
    log = Log.create(tmp_path / "log", metadata=b"", segment_bytes=SMALL, cache_bytes=1500)
    written = [one for first in range(1, 61, 3) for one in entries(first, 3, size=100)]
    for at in range(0, 60, 3):
        log.append(written[at : at + 3])
    assert log.entries(1, 61, EVERYTHING) == written
    assert log.entries(29, 31, EVERYTHING) == written[28:30]
    # Half of a batch is overridden; the other half still stands in the old record.
    log.append(entries(20, 1, term=2))
    assert log.entries(19, 21, EVERYTHING) == [written[18], *entries(20, 1, term=2)]
    log.close()


def test_set_snapshot_moves_nothing_else(log: Log, tmp_path: Path) -> None:
    log.append(entries(1, 5))
    log.set_snapshot(meta(4))
    assert (log.first_index(), log.snapshot_meta()) == (1, meta(4))
    after = reopened(log, tmp_path)
    assert (after.first_index(), after.last_index(), after.snapshot_meta()) == (1, 5, meta(4))
    assert after.initial_state()[1] == ConfState((1, 2, 3))
    after.close()


def test_every_field_of_a_conf_state_is_kept(log: Log, tmp_path: Path) -> None:
    conf = ConfState((1, 2, 1 << 63), (4,), (1, 2, 5), (5, 6), True)
    log.set_snapshot(SnapshotMeta(0, 0, conf))
    after = reopened(log, tmp_path)
    assert after.initial_state()[1] == conf
    after.close()


def test_install_snapshot_restarts_the_log(log: Log, tmp_path: Path) -> None:
    for index in range(1, 60):
        log.append(entries(index, 1, size=200))
    log.install_snapshot(meta(1000, 9))
    log.append([], HardState(9, 2, 1000))
    assert (log.first_index(), log.last_index(), log.term(1000)) == (1001, 1000, 9)
    with pytest.raises(Compacted):
        log.term(999)
    log.sync()
    assert len(segment_files(tmp_path)) == 1
    log.append(entries(1001, 2, term=9))
    before = picture(log)
    after = reopened(log, tmp_path)
    assert picture(after) == before
    assert after.snapshot_meta() == meta(1000, 9)
    after.close()


@pytest.mark.parametrize(
    ("before", "after"),
    [(HardState(2, 3, 4), HardState(9, 0, 1000)), (HardState(9, 3, 4), HardState(9, 3, 1000))],
)
def test_the_hard_state_rises_to_an_installed_snapshot(
    log: Log, tmp_path: Path, before: HardState, after: HardState
) -> None:
    """A crash may keep this record and lose Raft's own hard state, which follows."""
    log.append([], before)
    log.install_snapshot(meta(1000, 9))
    assert log.initial_state()[0] == after
    opened = reopened(log, tmp_path)
    assert opened.initial_state()[0] == after
    opened.close()


def test_compaction_drops_whole_segments_and_keeps_the_term_before(log: Log, tmp_path: Path) -> None:
    for index in range(1, 81):
        log.append(entries(index, 1, term=index, size=200))
    log.set_snapshot(meta(50, 50))
    log.sync()
    segments = len(segment_files(tmp_path))
    log.compact(50)
    first = log.first_index()
    assert 1 < first <= 51
    assert log.term(first - 1) == first - 1
    with pytest.raises(Compacted):
        log.entries(first - 1, first, 1)
    assert len(segment_files(tmp_path)) == segments
    log.sync()
    assert 1 < len(segment_files(tmp_path)) < segments
    before = picture(log)
    after = reopened(log, tmp_path)
    assert picture(after) == before
    after.compact(50)
    assert after.first_index() == first
    after.close()


def test_compaction_of_a_live_segment_does_nothing(log: Log) -> None:
    log.append(entries(1, 5))
    log.set_snapshot(meta(5))
    log.compact(5)
    assert log.first_index() == 1


def test_compaction_behind_the_snapshot_is_refused(log: Log) -> None:
    log.append(entries(1, 5))
    with pytest.raises(InvariantViolation, match="behind the snapshot"):
        log.compact(3)


def test_an_overlap_reaches_into_a_segment_that_then_goes(log: Log, tmp_path: Path) -> None:
    """The live segment overrides entries whose own segment is dropped later: replay starts in the middle."""
    index = 1
    while len(log._segments.sealed()) < 2:
        log.append(entries(index, 1, size=200))
        index += 1
    start = log._segments.live.header.next_index
    log.append(entries(start - 3, 1, term=2))
    log.set_snapshot(meta(start - 3, 2))
    log.compact(start - 4)
    assert log.first_index() == start - 3
    before = picture(log)
    after = reopened(log, tmp_path)
    assert picture(after) == before
    after.close()


def test_create_refuses_a_directory_with_a_log(log: Log, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is a log already"):
        Log.create(tmp_path / "log", metadata=b"")


def test_open_refuses_a_directory_without_one(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    with pytest.raises(LogDamaged, match="no log segment"):
        Log.open(tmp_path / "log")
    with pytest.raises(StorageError, match="No such file"):
        Log.open(tmp_path / "none")


def test_a_closed_log_refuses(tmp_path: Path) -> None:
    log = Log.create(tmp_path / "log", metadata=b"", segment_bytes=SMALL)
    log.close()
    for call in (lambda: log.append([entry(1)]), log.sync):
        with pytest.raises(StorageFailed, match="closed"):
            call()
    after = Log.open(tmp_path / "log")
    assert after.last_index() == 0
    after.close()


def test_a_newer_format_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvstore.storage.log.format.VERSION", 2)
    Log.create(tmp_path / "log", metadata=b"").close()
    monkeypatch.undo()
    with pytest.raises(LogDamaged, match="newer release"):
        Log.open(tmp_path / "log")


def test_without_fsync_it_reads_back_too(tmp_path: Path) -> None:
    log = Log.create(tmp_path / "log", metadata=b"", segment_bytes=SMALL, fsync=False)
    for index in range(1, 60):
        log.append(entries(index, 1, size=200))
        log.sync()
    before = picture(log)
    log.close()
    after = Log.open(tmp_path / "log", fsync=False)
    assert picture(after) == before
    after.close()
