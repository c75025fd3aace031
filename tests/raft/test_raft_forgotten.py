"""Who campaigns may not know any more what was committed: those who refuse it their vote tell."""

from __future__ import annotations

import pytest
from raft_alone import Alone

from kvstore.raft.codec import encode_conf_change
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
)

DEMOTION = encode_conf_change(ConfChange((ConfChangeSingle(ConfChangeKind.ADD_LEARNER, 2),)))


def voter_that_forgot() -> Alone:
    """It asks for pre-votes and does not know that entry 3, which made member 2 a learner, is committed."""
    alone = Alone(voters=(1, 2), terms=[1, 1], pre_vote=True)
    change = Entry(1, 3, EntryKind.CONF_CHANGE, DEMOTION)
    alone.step(MessageKind.APPEND, 2, log_term=1, index=2, entries=[change], commit=2)
    alone.tick(40)
    assert alone.node.role is Role.PRE_CANDIDATE
    return alone


def test_a_voter_that_forgot_what_was_committed_learns_it_from_who_refuses() -> None:
    """Member 2 has more entries, so it refuses; it is a learner, so it does not campaign itself."""
    alone = voter_that_forgot()
    alone.step(MessageKind.PRE_VOTE_REPLY, 2, reject=True, commit=3, log_term=1)
    assert alone.node.conf_state == ConfState(voters=(1,), learners=(2,))
    alone.tick(40)
    assert alone.node.role is Role.LEADER


@pytest.mark.parametrize(("commit", "log_term"), [(3, 2), (4, 1), (0, 0)])
def test_what_is_committed_elsewhere_counts_only_where_the_entry_is_the_same(commit: int, log_term: int) -> None:
    alone = voter_that_forgot()
    alone.step(MessageKind.PRE_VOTE_REPLY, 2, reject=True, commit=commit, log_term=log_term)
    assert alone.node.commit == 2


def test_who_refuses_says_what_is_committed() -> None:
    alone = Alone(terms=[1, 1, 2], hard=HardState(2, 0, 2))
    (reply,) = alone.step(MessageKind.VOTE, 2, log_term=1, index=2)
    assert (reply.reject, reply.commit, reply.log_term) == (True, 2, 1)
