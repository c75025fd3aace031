"""Tables in memory, for tests: ordered, strict about what the protocol forbids."""

from __future__ import annotations

from collections.abc import Iterator

from sortedcontainers import SortedDict


class MemoryTable:
    """One ordered table; a scan that goes on after a write is an error, as it would be undefined in a real one."""

    def __init__(self) -> None:
        self.data = SortedDict()
        self.writes = 0

    def get(self, key: bytes) -> bytes | None:
        value: bytes | None = self.data.get(key)
        return value

    def get_many(self, keys: list[bytes], max_bytes: int) -> list[bytes]:
        values: list[bytes] = []
        for key in keys:
            if sum(map(len, values)) < max_bytes:
                value = self.get(key)
                assert value is not None
                values.append(value)
        return values

    def get_numbered(self, numbers: list[int], width: int, max_bytes: int) -> list[bytes]:
        return self.get_many([number.to_bytes(width, "big") for number in numbers], max_bytes)

    def names(self) -> Iterator[bytes]:
        return iter(sorted(self.data))

    def put(self, key: bytes, value: bytes) -> None:
        assert 0 < len(key) <= 511
        assert type(key) is bytes
        assert type(value) is bytes
        self.writes += 1
        self.data[key] = value

    def append(self, key: bytes, value: bytes) -> None:
        assert not self.data or key > self.data.keys()[-1], "append out of order"
        self.put(key, value)

    def put_all(self, rows: dict[bytes, bytes]) -> None:
        for key, value in rows.items():
            self.put(key, value)

    def append_all(self, rows: dict[bytes, bytes]) -> None:
        for key, value in rows.items():
            self.append(key, value)

    def delete(self, key: bytes) -> bool:
        self.writes += 1
        return self.data.pop(key, None) is not None

    def delete_all(self, keys: list[bytes]) -> None:
        for key in keys:
            self.delete(key)

    def scan(
        self, start: bytes = b"", end: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        if end is not None and end <= start:
            return
        writes = self.writes
        for key in self.data.irange(start, end, inclusive=(True, False), reverse=reverse):
            assert self.writes == writes, "the table was written while a scan was in use"
            yield key, self.data[key]


class MemoryTables:
    """Every table of one member."""

    def __init__(self) -> None:
        self.tables: dict[str, MemoryTable] = {}

    def table(self, name: str) -> MemoryTable:
        return self.tables.setdefault(name, MemoryTable())

    def dump(self) -> dict[str, dict[bytes, bytes]]:
        """A copy of everything."""
        return {name: dict(table.data) for name, table in self.tables.items()}
