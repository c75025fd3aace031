"""The log after the process or the machine stopped: every synced write is there, and never half of an unsynced one."""

from __future__ import annotations

import os
import random
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from harness.plan import examples
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from log_picture import EVERYTHING, Picture, entries, entry, meta, picture
from power_loss import PowerLoss, Stop

from kvstore.raft.types import Entry, HardState
from kvstore.storage import Log

SEGMENT = 4096


def live_file(directory: Path) -> Path:
    return max(directory.glob("*.wal"))


def used(path: Path) -> int:
    return len(path.read_bytes().rstrip(b"\0"))


def abandon(log: Log) -> None:
    """What kill -9 does: descriptors go, nothing is written."""
    log._segments.close()


def test_a_tail_torn_at_every_byte_is_cut_and_kept(tmp_path: Path) -> None:
    directory = tmp_path / "log"
    log = Log.create(directory, metadata=b"m", segment_bytes=SEGMENT)
    log.append(entries(1, 3), HardState(1, 1, 1))
    log.sync()
    before = picture(log)
    start = used(live_file(directory))
    log.append(entries(4, 2, size=15), HardState(2, 1, 2))
    log.sync()
    after = picture(log)
    abandon(log)
    whole = live_file(directory).read_bytes()
    end = len(whole.rstrip(b"\0"))
    for cut in range(start, end + 1):
        copy = tmp_path / "copy"
        shutil.copytree(directory, copy)
        live_file(copy).write_bytes(whole[:cut].ljust(len(whole), b"\0"))
        left = whole[start:cut].rstrip(b"\0")
        opened = Log.open(copy, segment_bytes=SEGMENT)
        assert picture(opened) == (after if cut == end else before)
        if cut < end and left:
            assert opened.torn is not None
            assert opened.torn.read_bytes() == left
        else:
            assert opened.torn is None
        opened.append(entries(opened.last_index() + 1, 1, term=7))
        opened.close()
        again = Log.open(copy, segment_bytes=SEGMENT)
        assert again.torn is None
        assert again.term(again.last_index()) == 7
        again.close()
        shutil.rmtree(copy)


def test_a_file_cut_short_is_a_torn_tail_too(tmp_path: Path) -> None:
    directory = tmp_path / "log"
    log = Log.create(directory, metadata=b"m", segment_bytes=SEGMENT)
    log.append(entries(1, 3))
    log.sync()
    before = picture(log)
    log.append(entries(4, 3, size=90))
    log.sync()
    abandon(log)
    path = live_file(directory)
    os.truncate(path, used(path) - 5)
    opened = Log.open(directory)
    assert picture(opened) == before
    opened.close()


def test_stale_records_behind_a_cut_never_come_back(tmp_path: Path) -> None:
    """Of two unsynced batches only the second reached the disk; a new batch of the first one's size takes its place."""
    directory = tmp_path / "log"
    log = Log.create(directory, metadata=b"m", segment_bytes=SEGMENT)
    log.append(entries(1, 1))
    log.sync()
    start = used(live_file(directory))
    log.append([entry(2, data=b"lost")])
    lost = log._segments.live.end
    log.append([entry(3, data=b"stale")])
    abandon(log)
    path = live_file(directory)
    data = bytearray(path.read_bytes())
    data[start:lost] = bytes(lost - start)
    path.write_bytes(data)

    opened = Log.open(directory)
    assert opened.last_index() == 1
    assert opened.torn is not None
    opened.append([entry(2, data=b"new!")])
    assert opened._segments.live.end == lost
    abandon(opened)
    again = Log.open(directory)
    assert [one[3] for one in picture(again).entries[1:]] == [b"new!"]
    again.close()


@pytest.mark.parametrize("junk_at", [1, 65_000, 70_000, 131_072, 199_000])
def test_junk_far_behind_the_last_record_is_seen(tmp_path: Path, junk_at: int) -> None:
    directory = tmp_path / "log"
    log = Log.create(directory, metadata=b"m", segment_bytes=1 << 18)
    log.append(entries(1, 3))
    log.sync()
    end = log._segments.live.end
    abandon(log)
    with live_file(directory).open("r+b") as file:
        file.seek(end + junk_at)
        file.write(b"junk")
    opened = Log.open(directory)
    assert opened.last_index() == 3
    assert opened.torn is not None
    assert opened.torn.read_bytes() == bytes(junk_at) + b"junk"
    opened.close()
    again = Log.open(directory)
    assert again.torn is None
    again.close()


def test_a_second_torn_tail_at_the_same_place_keeps_both_copies(tmp_path: Path) -> None:
    directory = tmp_path / "log"
    log = Log.create(directory, metadata=b"m", segment_bytes=SEGMENT)
    log.close()
    path = live_file(directory)
    start = log._segments.live.end
    copies = []
    for junk in (b"first", b"second"):
        with path.open("r+b") as file:
            file.seek(start)
            file.write(junk)
        opened = Log.open(directory)
        assert opened.torn is not None
        copies.append(opened.torn)
        abandon(opened)
    assert [copy.read_bytes() for copy in copies] == [b"first", b"second"]


def test_a_segment_begun_but_not_named_is_forgotten(tmp_path: Path) -> None:
    directory = tmp_path / "log"
    log = Log.create(directory, metadata=b"m", segment_bytes=SEGMENT)
    log.append(entries(1, 1))
    log.sync()
    before = picture(log)
    log.append(entries(2, 3, size=2 * SEGMENT))
    assert list(directory.glob("*.tmp"))
    abandon(log)
    opened = Log.open(directory)
    assert picture(opened) == before
    opened.close()
    assert not list(directory.glob("*.tmp"))


def life(directory: Path, logs: list[Log], synced: list[Picture]) -> None:
    """Rolls, compacts, restarts; after each sync the picture that must not be lost is noted."""
    log = Log.create(directory, metadata=b"m", segment_bytes=SEGMENT)
    logs.append(log)
    synced.append(picture(log))
    for index in range(1, 49):
        log.append(entries(index, 1, size=600), HardState(1, 1, index - 1))
        if index in (20, 38):  # some of the segments that go were never synced
            log.set_snapshot(meta(index - 2))
            log.compact(index - 2)
        if index % 16 == 0:  # over several rolls
            log.sync()
            synced.append(picture(log))
    log.install_snapshot(meta(100, 2))
    log.append(entries(101, 1, term=2), HardState(2, 1, 100))
    log.close()
    logs.append(Log.open(directory, segment_bytes=SEGMENT))
    synced.append(picture(logs[-1]))


@pytest.mark.parametrize("power", [True, False], ids=["power-loss", "kill"])
def test_a_stop_at_every_step_of_a_log_s_life(tmp_path: Path, power: bool) -> None:
    for number in range(1000):
        directory, left = tmp_path / f"{number}", tmp_path / f"{number}.left"
        logs: list[Log] = []
        synced: list[Picture] = []
        with pytest.MonkeyPatch.context() as monkeypatch:
            disk = PowerLoss(directory, monkeypatch)
            disk.steps_left = number
            try:
                life(directory, logs, synced)
                stopped = False
            except Stop:
                stopped = True
            if synced:  # else it stopped while it was made: DataDir refuses a directory without an identity
                disk.crash(left, random.Random(number), kill=not power)
            disk.close()
            for log in logs:
                abandon(log)
        if not stopped:
            break
        if synced:
            opened = Log.open(left)
            assert at_least(picture(opened), synced[-1])
            opened.close()
    assert number > 30


def test_a_stop_at_every_step_of_a_start_after_a_crash(tmp_path: Path) -> None:
    """The crash left a torn tail, a segment that is compacted and one that was begun; the start is cut off as well."""
    directory = tmp_path / "log"
    log = Log.create(directory, metadata=b"m", segment_bytes=SEGMENT)
    for index in range(1, 25):
        log.append(entries(index, 1, size=600))
    log.set_snapshot(meta(18))
    log.sync()
    superfluous = min(directory.glob("*.wal"))
    kept = superfluous.read_bytes()
    log.compact(18)
    log.sync()
    superfluous.write_bytes(kept)
    expected = picture(log)
    start = log._segments.live.end
    log.append(entries(25, 1, size=300))
    second = log._segments.live.end
    log.append(entries(26, 1, size=300))
    log.append(entries(27, 1, size=SEGMENT))
    assert list(directory.glob("next-*.tmp"))
    torn = {path.name: path.read_bytes() for path in directory.iterdir()}
    abandon(log)
    live = max(name for name in torn if name.endswith(".wal"))
    torn[live] = torn[live][:start] + bytes(second - start) + torn[live][second:]
    for number in range(1000):
        broken, left = tmp_path / f"{number}", tmp_path / f"{number}.left"
        broken.mkdir()
        for name, data in torn.items():
            (broken / name).write_bytes(data)
        with pytest.MonkeyPatch.context() as monkeypatch:
            disk = PowerLoss(broken, monkeypatch)
            disk.remember_all()
            disk.steps_left = number
            try:
                abandon(Log.open(broken))
                stopped = False
            except Stop:
                stopped = True
            disk.crash(left, random.Random(number))
            disk.close()
        opened = Log.open(left)
        assert picture(opened) == expected
        opened.append(entries(25, 1, size=300))
        opened.close()
        assert list(left.glob("*.torn-*"))
        if not stopped:
            break
    assert number > 8


def at_least(found: Picture, synced: Picture) -> bool:
    """Whether nothing of a synced state is missing; compaction and a new snapshot may have taken entries away."""
    have = {one[0]: one for one in found.entries}
    return all(one[0] < found.first or have.get(one[0]) == one for one in synced.entries) and (
        found.hard_state.commit >= synced.hard_state.commit
    )


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 4), st.integers(0, 1500)),
        st.tuples(st.just("override"), st.integers(0, 5), st.integers(0, 300)),
        st.tuples(st.just("hard"), st.integers(1, 9), st.just(0)),
        st.tuples(st.just("sync"), st.just(0), st.just(0)),
        st.tuples(st.just("compact"), st.integers(0, 8), st.just(0)),
        st.tuples(st.just("install"), st.integers(1, 20), st.just(0)),
        st.tuples(st.just("reopen"), st.just(0), st.just(0)),
    ),
    max_size=40,
)


class Life:
    """A log under random operations; what each of them made of it, and up to where that is durable."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = Log.create(directory, metadata=b"m", segment_bytes=SEGMENT, cache_bytes=2000)
        self.term = 1
        self.model: dict[int, Entry] = {}
        self.seen = [picture(self.log)]
        self.durable = 0

    def run(self, operation: tuple[str, int, int]) -> None:
        name, number, size = operation
        # Only sync and reopen can stop in the middle, and they change nothing that the log says.
        getattr(self, name)(number, size)
        self.seen.append(picture(self.log))
        self.check()
        if not self.log.needs_sync:
            self.durable = len(self.seen) - 1

    def check(self) -> None:
        """The log agrees with the model, but for what it has compacted."""
        first, last = self.log.first_index(), self.log.last_index()
        assert last == max(self.model, default=last)
        known = [self.model[index] for index in range(first, last + 1)]
        assert known == (self.log.entries(first, last + 1, EVERYTHING) if known else [])
        assert [one.term for one in known] == [self.log.term(index) for index in range(first, last + 1)]

    def write(self, batch: list[Entry], hard_state: HardState) -> None:
        self.log.append(batch, hard_state)
        self.model = {index: one for index, one in self.model.items() if index < batch[0].index}
        self.model |= {one.index: one for one in batch}

    def append(self, count: int, size: int) -> None:
        last = self.log.last_index()
        self.write(entries(last + 1, count, self.term, size), HardState(self.term, 1, last))

    def override(self, back: int, size: int) -> None:
        self.term += 1
        first = max(self.log.last_index() - back + 1, self.log.snapshot_meta().index + 1)
        self.write(entries(first, 2, self.term, size), HardState(self.term, 2, 0))

    def hard(self, term: int, _: int) -> None:
        self.term += term
        self.log.append([], HardState(self.term, 0, self.log.last_index()))

    def sync(self, *_: int) -> None:
        self.log.sync()

    def compact(self, keep: int, _: int) -> None:
        index = max(self.log.snapshot_meta().index, self.log.last_index() - keep)
        self.log.set_snapshot(meta(index, self.log.term(index)))
        self.seen.append(picture(self.log))
        self.log.compact(index)

    def install(self, ahead: int, _: int) -> None:
        self.log.install_snapshot(meta(self.log.last_index() + ahead, self.term))
        self.model = {}

    def reopen(self, *_: int) -> None:
        before = picture(self.log)
        self.log.close()
        self.log = Log.open(self.directory, segment_bytes=SEGMENT, cache_bytes=2000)
        assert picture(self.log) == before
        assert self.log.torn is None


@settings(
    max_examples=examples(100),
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)
@given(operations=OPERATIONS, steps=st.integers(0, 150), seed=st.integers(0, 1 << 32))
def test_power_loss_at_any_moment(
    tmp_path: Path, operations: list[tuple[str, int, int]], steps: int, seed: int
) -> None:
    """Unsynced sectors reach the disk or not, each for itself; what is found is a state that the log was in."""
    directory = tmp_path / f"log-{random.Random().randrange(1 << 60):x}"
    left = directory.with_suffix(".left")
    with pytest.MonkeyPatch.context() as monkeypatch:
        disk = PowerLoss(directory, monkeypatch)
        life = Life(directory)
        disk.steps_left = steps
        try:
            with suppress(Stop):
                for operation in operations:
                    life.run(operation)
            disk.crash(left, random.Random(seed))
        finally:
            disk.close()
            abandon(life.log)
    opened = Log.open(left, segment_bytes=SEGMENT)
    found = picture(opened)
    assert found in life.seen[life.durable :]
    # And it goes on from there.
    opened.append(entries(opened.last_index() + 1, 3, 1000, 200), HardState(1000, 0, 0))
    after = picture(opened)
    opened.close()
    opened = Log.open(left, segment_bytes=SEGMENT)
    assert picture(opened) == after
    opened.close()
    shutil.rmtree(directory)
    shutil.rmtree(left)
