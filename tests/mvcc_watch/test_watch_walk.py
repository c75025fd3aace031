"""Large revisions in history: read in parts, alone, wherever the walk stands before them."""

from __future__ import annotations

import pytest
from watch_fakes import ListHistory, Recorder

from kvstore.mvcc import watch_walk
from kvstore.mvcc.types import PUT
from kvstore.mvcc.watch import WatchHub

LARGE = 5
KEYS = [b"k%02d" % number for number in range(4 * LARGE)]


@pytest.fixture
def history(monkeypatch: pytest.MonkeyPatch) -> ListHistory:
    monkeypatch.setattr(watch_walk, "LARGE", LARGE)
    return ListHistory()


def parts(history: ListHistory, sink: Recorder, start: int) -> list[int]:
    """Watch everything from a revision on; how many events each turn of the walk read."""
    hub = WatchHub(history, recent_bytes=0)
    hub.watch(sink, 0, b"\0", b"\0", start)
    counts = []
    for _ in range(100):
        before = history.reads
        more = hub.catch_up(1000)
        counts.append(history.reads - before)
        if not more:
            return counts
    pytest.fail("the walk does not end")


@pytest.mark.parametrize("gap", [0, 1, 1000])
def test_a_large_revision_behind_revisions_without_a_record(history: ListHistory, gap: int) -> None:
    """A restore that bumps the revision leaves such; a watch may begin at any of them."""
    start = history.revision + 1
    history.revision += gap
    history.write([(PUT, key) for key in KEYS])
    sink = Recorder()
    assert max(parts(history, sink, start)) <= LARGE + 1
    assert sink.seen() == [(start + gap, key) for key in KEYS]


@pytest.mark.parametrize("before", [1, LARGE - 1, LARGE, 3 * LARGE])
def test_a_large_revision_behind_small_ones(history: ListHistory, before: int) -> None:
    for _ in range(before):
        history.write([(PUT, b"a")])
    history.write([(PUT, key) for key in KEYS])
    history.write([(PUT, b"z")])
    sink = Recorder()
    assert max(parts(history, sink, 2)) <= before + LARGE + 1
    last = before + 2
    assert sink.seen() == [*((n + 2, b"a") for n in range(before)), *((last, key) for key in KEYS), (last + 1, b"z")]


def test_two_large_revisions(history: ListHistory) -> None:
    for _ in range(2):
        history.write([(PUT, key) for key in KEYS])
    sink = Recorder()
    assert max(parts(history, sink, 2)) <= 2 * LARGE + 1
    assert sink.seen() == [(main, key) for main in (2, 3) for key in KEYS]
