"""Checks of a finished history against what the store holds: nothing lost, nothing made up, nothing out of order.

Each check raises AssertionError with the first things that are wrong. The rules follow from unique values and from
etcd's promise that revisions are the one order of all writes:

* an acknowledged write is in the store's history at the revision that its acknowledgement named;
* a value that nobody wrote is nowhere; a write that was refused is nowhere;
* real time: a write that began after another was acknowledged has the greater revision;
* a read shows the newest write of its key at some moment between its begin and its end;
* a watcher got every revision of its range, once, in order.
"""

from __future__ import annotations

import itertools
from collections import defaultdict

from harness.stubs import Stub
from harness.workload import Event, History
from kvstore.pb import etcd_pb2 as pb


def stored_writes(stub: Stub, prefix: bytes) -> dict[int, Event]:
    """Every put under the prefix from the store's history, by revision: read back with one watch from revision 1."""
    end = prefix[:-1] + bytes([prefix[-1] + 1])
    last = stub.Range(pb.RangeRequest(key=prefix), timeout=10).header.revision
    marker = stub.Put(pb.PutRequest(key=prefix + b"\xff", value=b"marker"), timeout=10).header.revision
    create = pb.WatchCreateRequest(key=prefix, range_end=end, start_revision=1)
    call = stub.Watch(iter([pb.WatchRequest(create_request=create)]), timeout=30)
    found: dict[int, Event] = {}
    for response in call:
        for event in response.events:
            found[event.kv.mod_revision] = Event(event.kv.key, event.kv.value, event.kv.mod_revision)
        if found and max(found) >= marker:
            break
    call.cancel()
    del found[marker]
    assert all(r <= last for r in found)
    return found


def check_all(history: History, stub: Stub, prefix: bytes = b"load/") -> None:
    """Every check there is."""
    stored = stored_writes(stub, prefix)
    check_writes(history, stored)
    check_real_time(history)
    check_reads(history, stored)
    check_watch(history, stored)


def check_writes(history: History, stored: dict[int, Event]) -> None:
    """Acknowledged: there, where it was said to be. Unknown: there at most once. Everything else: not there."""
    lost = [w for w in history.acknowledged if not _same(stored.get(w.revision), w.key, w.value)]
    assert not lost, f"{len(lost)} acknowledged writes are lost, among them {lost[:3]}"
    known = {w.value: w for w in history.writes}
    seen: set[bytes] = set()
    for event in stored.values():
        write = known.get(event.value)
        assert write is not None, f"nobody wrote {event}"
        assert not write.refused, f"{write} was refused, yet it is stored: {event}"
        assert event.value not in seen, f"{event.value!r} was applied twice"
        assert write.key == event.key, f"{write} is stored under another key: {event}"
        seen.add(event.value)


def _same(event: Event | None, key: bytes, value: bytes) -> bool:
    return event is not None and (event.key, event.value) == (key, value)


def check_real_time(history: History) -> None:
    """A write that began after another one's acknowledgement comes after it."""
    by_start = sorted(history.acknowledged, key=lambda w: w.start)
    by_end = sorted(history.acknowledged, key=lambda w: w.end)
    newest, done = 0, iter(by_end)
    pending = next(done, None)
    for write in by_start:
        while pending is not None and pending.end < write.start:
            newest = max(newest, pending.revision)
            pending = next(done, None)
        assert write.revision > newest, f"{write} began after revision {newest} was acknowledged"


def check_reads(history: History, stored: dict[int, Event]) -> None:
    """No stale read and none from the future: linearizability of a register whose values are unique."""
    acknowledged = sorted(history.acknowledged, key=lambda w: w.end)
    for read in history.reads:
        if read.mod_revision:
            event = stored.get(read.mod_revision)
            assert _same(event, read.key, read.value), f"{read} shows what was never stored"
        assert read.mod_revision <= read.revision
    # The newest revision acknowledged before a read began is a floor for that read, on its key and in its header.
    floor: dict[bytes, int] = defaultdict(int)
    overall, position = 0, 0
    for read in sorted(history.reads, key=lambda r: r.start):
        while position < len(acknowledged) and acknowledged[position].end < read.start:
            write = acknowledged[position]
            floor[write.key] = max(floor[write.key], write.revision)
            overall = max(overall, write.revision)
            position += 1
        assert read.mod_revision >= floor[read.key], f"stale: {read}, but {floor[read.key]} was acknowledged before"
        assert read.revision >= overall, f"stale header: {read}, but {overall} was acknowledged before"
    for before, after in itertools.pairwise(sorted(history.reads, key=lambda r: r.end)):
        if before.end < after.start:
            assert before.revision <= after.revision, f"{after} is older than {before}"


def check_watch(history: History, stored: dict[int, Event]) -> None:
    """Ordered, unique, complete: the watcher's events are the stored writes."""
    revisions = [e.revision for e in history.events]
    assert revisions == sorted(set(revisions)), "events out of order or twice"
    for event in history.events:
        assert _same(stored.get(event.revision), event.key, event.value), f"{event} was never stored"
    last = max(revisions, default=0)
    missed = [r for r in stored if r <= last and r not in set(revisions)]
    assert not missed, f"the watcher missed revisions {sorted(missed)[:5]}"
    newest = max((w.revision for w in history.acknowledged), default=0)
    assert last >= newest, f"the watcher stopped at {last}, but {newest} was acknowledged"
