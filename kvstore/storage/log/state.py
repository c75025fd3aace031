"""What the records of a log add up to.

Replay builds it from the headers and records, in order; the running log keeps it as it writes them.
Invariant: a later record overrides an earlier one, so the order of the records is the order of what happened.
"""

from __future__ import annotations

from pathlib import Path

from kvstore.raft.types import HardState, SnapshotMeta
from kvstore.storage.errors import LogDamaged
from kvstore.storage.log.format import (
    BASE,
    BATCH,
    RESTART,
    SNAPSHOT,
    Header,
    Record,
    batch_terms,
    decode_base,
    decode_meta,
)
from kvstore.storage.log.index import EntryIndex
from kvstore.storage.log.segment import CURE


class LogState:
    """Hard state, snapshot, compaction point and where the entries are."""

    __slots__ = ("_base", "hard_state", "index", "metadata", "snapshot")

    def __init__(self, header: Header) -> None:
        """The state as of the first segment that is there; the entries before it are unknown until finish()."""
        self.hard_state: HardState = header.hard_state
        self.snapshot: SnapshotMeta = header.snapshot
        self.metadata = header.metadata
        self._base = (header.base_index, header.base_term)
        at_base = header.next_index == header.base_index + 1
        self.index = EntryIndex(header.next_index - 1, header.base_term if at_base else 0)

    def replay(self, record: Record, place: int) -> None:
        """Add one record."""
        if record.kind == BATCH:
            self._replay_batch(record.payload, place)
        elif record.kind == SNAPSHOT:
            self.snapshot, _ = decode_meta(record.payload)
        elif record.kind == RESTART:
            self.snapshot, _ = decode_meta(record.payload)
            self._base = (self.snapshot.index, self.snapshot.term)
            self.index.restart(*self._base)
            self.hard_state = raised(self.hard_state, self.snapshot)
        elif record.kind == BASE:
            self._base = decode_base(record.payload)

    def _replay_batch(self, payload: bytes, place: int) -> None:
        self.hard_state, first, terms = batch_terms(payload)
        if not terms:
            return
        if first <= self.index.base:
            # It overrides entries of a segment that is gone: what is left of that one lies below the compaction point.
            self.index.restart(first - 1, 0)
        self.index.extend(first, terms, place)

    def finish(self, directory: Path) -> None:
        """All is read: forget what is compacted. LogDamaged if entries after the compaction point are missing."""
        base, term = self._base
        index = self.index
        if not index.base <= base <= index.last:
            raise LogDamaged(
                f"{directory}: a segment is missing, no other has the entries {base + 1} to {index.base}; {CURE}"
            )
        if index.base == base:
            index.base_term = term
        else:
            index.drop_to(base)


def raised(hard_state: HardState, snapshot: SnapshotMeta) -> HardState:
    """The hard state that goes with a snapshot which replaced the log: what it holds is committed, and of its term.

    Raft's own follows in the next record, which a crash may part from this one.
    """
    term = max(hard_state.term, snapshot.term)
    vote = hard_state.vote if term == hard_state.term else 0
    return HardState(term, vote, max(hard_state.commit, snapshot.index))
