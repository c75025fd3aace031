"""What the store sees of a lessor and of a watch hub, for tests."""

from __future__ import annotations

from kvstore.mvcc.types import StoredEvent


class Leases:
    """Granted leases and the keys attached to each."""

    def __init__(self, granted: set[int] | None = None) -> None:
        self.keys: dict[int, set[bytes]] = {lease: set() for lease in granted or ()}

    def any(self) -> bool:
        return bool(self.keys)

    def exists(self, lease: int) -> bool:
        return lease in self.keys

    def attach(self, lease: int, key: bytes) -> None:
        assert key not in self.keys[lease]
        self.keys[lease].add(key)

    def detach(self, lease: int, key: bytes) -> None:
        self.keys[lease].remove(key)


class Recorder:
    """Every published revision; while it is not `watched`, those of runs of puts need not come."""

    def __init__(self) -> None:
        self.watched = True
        self.published: list[tuple[int, list[StoredEvent]]] = []
        self.unread: list[tuple[int, bytes, bytes | None]] = []

    def publish(self, main: int, events: list[StoredEvent]) -> None:
        assert events
        assert not self.published or self.published[-1][0] == main - 1
        assert [event.revision for event in events] == [main << 32 | sub for sub in range(len(events))]
        self.published.append((main, events))

    def publish_unread(self, main: int, first: bytes, last: bytes | None) -> None:
        self.unread.append((main, first, last))
