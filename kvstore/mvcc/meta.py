"""Named integers in the table `meta`: applied index and term, compaction marks and the like.

They live in the same transaction as the data they speak of; that is what makes a restart exact.
"""

from __future__ import annotations

from typing import Final

from .types import Tables

APPLIED_INDEX: Final = b"applied_index"
APPLIED_TERM: Final = b"applied_term"
COMPACT_SCHEDULED: Final = b"compact_scheduled"
COMPACT_FINISHED: Final = b"compact_finished"
COMPACT_CURSOR: Final = b"compact_cursor"
DELETE_UNFINISHED: Final = b"delete_unfinished"
APPLIED_REQUESTS: Final = b"applied_requests"

CONF_STATE: Final = b"conf_state"
"""Beside them: the membership as of the applied index, encoded."""

_WIDTH: Final = 16


class Meta:
    """The integers of one member's table `meta`; names are bytes, values signed 128 bit."""

    __slots__ = ("_table",)

    def __init__(self, tables: Tables) -> None:
        self._table = tables.table("meta")

    def get(self, name: bytes, default: int = 0) -> int:
        """The value, or `default` if it was never set."""
        data = self._table.get(name)
        return default if data is None else int.from_bytes(data, "big", signed=True)

    def set(self, name: bytes, value: int) -> None:
        """Write the value."""
        self._table.put(name, value.to_bytes(_WIDTH, "big", signed=True))

    @property
    def applied(self) -> tuple[int, int]:
        """(index, term) of the last log entry whose effects are in the tables; (0, 0) at first."""
        return self.get(APPLIED_INDEX), self.get(APPLIED_TERM)

    def set_applied(self, index: int, term: int) -> None:
        """Remember the last applied log entry; call it in the transaction that holds its effects."""
        self.set(APPLIED_INDEX, index)
        self.set(APPLIED_TERM, term)
