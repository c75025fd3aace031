"""A history that is a list, sinks that write down what they get, and what a watcher should see."""

from __future__ import annotations

from collections.abc import Iterator

from kvstore.mvcc.types import DELETE, PUT, StoredEvent, pack
from kvstore.mvcc.watch import WatchHub
from kvstore.mvcc.watch_batch import Batch
from kvstore.mvcc.watch_group import Watcher
from kvstore.pb import etcd_pb2 as pb


class ListHistory:
    """An EventSource over a list; publishes what is written unless told not to."""

    def __init__(self) -> None:
        self.revision = 1
        self.compacted_revision = -1
        self.log: list[StoredEvent] = []
        self.live: dict[bytes, tuple[int, bytes, int, int]] = {}  # revision, kv, create revision, version
        self.kvs: dict[int, bytes] = {}
        self.reads = 0

    def write(self, changes: list[tuple[int, bytes]]) -> list[StoredEvent]:
        """One revision of (type, key) changes; deletes of keys that are not alive are left out."""
        self.revision += 1
        made: list[StoredEvent] = []
        for type, key in changes:
            if type == PUT or key in self.live:
                made.append(self._change(type, key, pack(self.revision, len(made))))
        if not made:
            self.revision -= 1
        self.log.extend(made)
        return made

    def _change(self, type: int, key: bytes, revision: int) -> StoredEvent:
        previous, _, create, version = self.live.get(key, (0, b"", self.revision, 0))
        if type == DELETE:
            kv = pb.KeyValue(key=key, mod_revision=self.revision).SerializeToString()
            del self.live[key]
        else:
            kv = pb.KeyValue(
                key=key,
                create_revision=create,
                mod_revision=self.revision,
                version=version + 1,
                value=b"value %d" % revision,
            ).SerializeToString()
            self.live[key] = (revision, kv, create, version + 1)
            self.kvs[revision] = kv
        return StoredEvent(type, key, revision, kv, previous)

    def compact(self, revision: int) -> None:
        self.compacted_revision = max(self.compacted_revision, revision)

    def events(self, start: int, end: int, resume: int = 0) -> Iterator[StoredEvent]:
        assert start >= self.compacted_revision, "a compacted revision is read"
        for event in self.log:
            if start <= event.revision >> 32 <= end and event.revision >= resume:
                self.reads += 1
                # A new object, as from disk: nothing encoded on it.
                yield StoredEvent(event.type, event.key, event.revision, event.kv, event.previous)

    def previous_kv(self, event: StoredEvent) -> bytes | None:
        return self.kvs[event.previous] if event.previous else None


class Recorder:
    """A sink that keeps all it gets, decoded."""

    def __init__(self, bound: int = 1 << 20) -> None:
        self.bound = bound
        self.buffered = 0
        self.got: dict[int, list[pb.Event]] = {}
        self.headers: list[int] = []
        self.batches: list[Batch] = []
        self.canceled: dict[int, int] = {}
        self.reports: list[int] = []
        self.hastened = 0

    def deliver(self, watcher: Watcher, batch: Batch) -> None:
        assert self.buffered <= self.bound, "a full sink got more"
        assert not watcher.done, "an ended watcher got events"
        assert watcher.id not in self.canceled
        events = pb.WatchResponse.FromString(batch.body()).events
        assert batch.revision >= events[-1].kv.mod_revision
        before = self.got.setdefault(watcher.id, [])
        if before:
            assert before[-1].kv.mod_revision < events[0].kv.mod_revision, "a revision was split or came again"
        before.extend(events)
        self.headers.append(batch.revision)
        self.batches.append(batch)

    def hasten(self) -> None:
        self.hastened += 1

    def compacted(self, watcher: Watcher, revision: int) -> None:
        self.canceled[watcher.id] = revision

    def progress(self, revision: int) -> None:
        self.reports.append(revision)

    def seen(self, id: int = 0) -> list[tuple[int, bytes]]:
        """(main revision, key) of what a watcher got."""
        return [(event.kv.mod_revision, event.kv.key) for event in self.got.get(id, [])]


def wanted(history: ListHistory, watcher: Watcher, begin: int) -> list[pb.Event]:
    """What the watcher should have seen by now, had it begun at revision `begin`: the slow, obvious way."""
    key, end, drop, prev_kv = watcher.interest
    found: list[pb.Event] = []
    for event in history.log:
        inside = event.key == key if not end else event.key >= key and (end == b"\0" or event.key < end)
        if event.revision >> 32 >= begin and inside and event.type not in drop:
            message = pb.Event(type=event.type, kv=pb.KeyValue.FromString(event.kv))  # type: ignore[arg-type]
            if prev_kv and event.previous:
                message.prev_kv.ParseFromString(history.kvs[event.previous])
            found.append(message)
    return found


def publish(history: ListHistory, hub: WatchHub, *changes: tuple[int, bytes]) -> int:
    """Write one revision and publish it; returns the current revision."""
    events = history.write(list(changes))
    if events:
        hub.publish(history.revision, events)
    return history.revision


def settle(hub: WatchHub) -> None:
    """Let the hub do all it has to do."""
    hub.flush()
    while hub.catch_up(3):
        pass
