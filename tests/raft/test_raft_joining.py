"""A member that joins knows nobody: it must not act on a membership that it does not have."""

from __future__ import annotations

from raft_alone import Alone, entries
from raft_memory_log import MemoryLog

from kvstore.raft.codec import encode_conf_change
from kvstore.raft.config import Config
from kvstore.raft.node import RawNode
from kvstore.raft.types import (
    ConfChange,
    ConfChangeKind,
    ConfChangeSingle,
    ConfState,
    Entry,
    EntryKind,
    HardState,
    MessageKind,
    Role,
    SnapshotMeta,
)


def test_the_first_entries_of_a_log_are_not_taken_by_who_knows_no_founders() -> None:
    """Among them may be the one that adds it: it would be the only voter it knows, and elect itself."""
    alone = Alone(voters=(), me=4)
    adds_me = encode_conf_change(ConfChange((ConfChangeSingle(ConfChangeKind.ADD_VOTER, 4),)))
    log = [*entries([1, 1]), Entry(1, 3, EntryKind.CONF_CHANGE, adds_me)]
    assert alone.step(MessageKind.APPEND, 1, term=1, entries=log, commit=3) == []
    assert alone.applied == []
    for _ in range(50):
        alone.node.tick()
    assert alone.drain() == []
    assert alone.node.role is Role.FOLLOWER


def test_an_append_that_begins_later_is_refused_and_a_snapshot_is_taken() -> None:
    """The refusal is what brings its leader to send one."""
    alone = Alone(voters=(), me=4)
    replies = alone.step(MessageKind.APPEND, 1, term=1, index=7, log_term=1, entries=entries([1], first=8), commit=7)
    assert [(m.kind, m.reject, m.reject_hint) for m in replies] == [(MessageKind.APPEND_REPLY, True, 0)]
    meta = SnapshotMeta(7, 1, ConfState(voters=(1, 2, 3, 4)))
    replies = alone.step(MessageKind.SNAPSHOT, 1, term=1, snapshot=meta)
    assert [(m.kind, m.reject, m.index) for m in replies] == [(MessageKind.APPEND_REPLY, False, 7)]
    assert alone.node.conf_state.voters == (1, 2, 3, 4)
    alone.step(MessageKind.APPEND, 1, term=1, index=7, log_term=1, entries=entries([1], first=8), commit=8)
    assert [entry.index for entry in alone.applied] == [8]


def test_the_membership_as_of_the_applied_index_wins_over_the_logs() -> None:
    """The log's is of its snapshot at 0; three was removed by an entry that is applied already."""
    log = MemoryLog(ConfState(voters=(1, 2, 3)))
    log.held = entries([1, 1, 1, 1])
    log.hard = HardState(1, 0, 4)
    log.sync()
    config = Config(id=1, randrange=lambda n: 0)
    assert RawNode(config, log).conf_state.voters == (1, 2, 3)
    told = RawNode(config, log, applied=3, conf_state=ConfState(voters=(1, 2)))
    assert told.conf_state.voters == (1, 2)
    assert [entry.index for entry in told.ready().committed] == [4]
    nobody = RawNode(config, log, applied=3, conf_state=ConfState())
    assert nobody.conf_state == ConfState(), "an empty membership is one, too"
