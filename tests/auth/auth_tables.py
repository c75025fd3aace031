"""Tables in memory, as far as auth needs them, and strict about the keys that LMDB takes."""

from __future__ import annotations

from collections.abc import Iterator


class AuthMemoryTable:
    """One table of bytes → bytes."""

    def __init__(self) -> None:
        self.data: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        return self.data.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        assert 0 < len(key) <= 511
        self.data[key] = value

    def append(self, key: bytes, value: bytes) -> None:
        self.put(key, value)

    def delete(self, key: bytes) -> bool:
        return self.data.pop(key, None) is not None

    def scan(
        self, start: bytes = b"", end: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        for key in sorted(self.data, reverse=reverse):
            if key >= start and (end is None or key < end):
                yield key, self.data[key]


class AuthMemoryTables:
    """Every table of one member."""

    def __init__(self) -> None:
        self.tables: dict[str, AuthMemoryTable] = {}

    def table(self, name: str) -> AuthMemoryTable:
        return self.tables.setdefault(name, AuthMemoryTable())

    def dump(self) -> dict[str, dict[bytes, bytes]]:
        """A copy of everything."""
        return {name: dict(table.data) for name, table in self.tables.items()}


class AuthLeases:
    """Which keys hang on which lease."""

    def __init__(self) -> None:
        self.attached: dict[int, list[bytes]] = {}

    def keys(self, lease: int) -> list[bytes]:
        return self.attached.get(lease, [])
