"""Majorities and joint consensus against brute force, and what changes of membership may never do."""

from __future__ import annotations

from itertools import chain, combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvstore.raft import confchange
from kvstore.raft.quorum import Vote, joint_index, joint_vote, majority_index, majority_vote
from kvstore.raft.tracker import Membership
from kvstore.raft.types import ConfChange, ConfChangeKind, ConfChangeSingle, ConfState, Transition

ids = st.integers(1, 7)
halves = st.frozensets(ids, max_size=7)
votes = st.dictionaries(ids, st.booleans())


def majorities(voters: frozenset[int]) -> list[frozenset[int]]:
    """Every set of voters that is a majority; of nobody, the empty one."""
    needed = len(voters) // 2 + 1 if voters else 0
    sets = chain.from_iterable(combinations(sorted(voters), size) for size in range(needed, len(voters) + 1))
    return [frozenset(found) for found in sets]


@settings(deadline=None)
@given(halves, st.dictionaries(ids, st.integers(0, 20)))
def test_majority_index_is_the_highest_that_a_majority_has(voters: frozenset[int], acked: dict[int, int]) -> None:
    found = majority_index([acked.get(voter, 0) for voter in voters])
    if not voters:
        assert found is None
    else:
        assert found == max(min(acked.get(voter, 0) for voter in majority) for majority in majorities(voters))


@settings(deadline=None)
@given(halves, halves, st.dictionaries(ids, st.integers(0, 20)))
def test_joint_index_needs_both(voters: frozenset[int], outgoing: frozenset[int], acked: dict[int, int]) -> None:
    found = joint_index(*[[acked.get(voter, 0) for voter in half] for half in (voters, outgoing)])
    have = {voter for voter in voters | outgoing if acked.get(voter, 0) >= found}
    more = {voter for voter in voters | outgoing if acked.get(voter, 0) > found}
    for half in (voters, outgoing):
        assert any(majority <= have for majority in majorities(half))
    if voters or outgoing:
        assert not all(any(majority <= more for majority in majorities(half)) for half in (voters, outgoing))


@settings(deadline=None)
@given(halves, votes)
def test_majority_vote(voters: frozenset[int], cast: dict[int, bool]) -> None:
    granted = {voter for voter, vote in cast.items() if vote}
    possible = {voter for voter in voters if cast.get(voter, True)}
    won = any(majority <= granted for majority in majorities(voters))
    lost = not any(majority <= possible for majority in majorities(voters))
    assert majority_vote(voters, cast) is (Vote.WON if won else Vote.LOST if lost else Vote.PENDING)


@settings(deadline=None)
@given(halves, halves, votes)
def test_joint_vote(voters: frozenset[int], outgoing: frozenset[int], cast: dict[int, bool]) -> None:
    both = {majority_vote(voters, cast), majority_vote(outgoing, cast)}
    expected = Vote.LOST if Vote.LOST in both else Vote.WON if both == {Vote.WON} else Vote.PENDING
    assert joint_vote(voters, outgoing, cast) is expected


singles = st.builds(ConfChangeSingle, st.sampled_from(ConfChangeKind), st.integers(1, 5))
changes = st.builds(ConfChange, st.lists(singles, max_size=4).map(tuple), st.sampled_from(Transition), st.just(b""))


def smallest(voters: frozenset[int]) -> list[frozenset[int]]:
    """The majorities none of whose members could be missing."""
    return [frozenset(found) for found in combinations(sorted(voters), len(voters) // 2 + 1)] if voters else [voters]


def quorums(membership: Membership) -> list[frozenset[int]]:
    """Every set that can decide and contains no smaller one that can."""
    return [a | b for a in smallest(membership.voters) for b in smallest(membership.outgoing)]


@settings(deadline=None)
@given(st.frozensets(st.integers(1, 5), min_size=1), st.lists(changes, max_size=6))
def test_quorums_before_and_after_a_change_always_meet(founders: frozenset[int], steps: list[ConfChange]) -> None:
    """What makes a change of membership safe: no two disjoint sets can decide, one by the old and one by the new."""
    membership = Membership(voters=founders)
    for step in steps:
        try:
            after = confchange.apply(membership, step)
        except confchange.ConfChangeError:
            continue
        after.check()
        assert after.voters
        assert all(old & new for old in quorums(membership) for new in quorums(after))
        assert Membership.of(after.conf_state) == after
        membership = after


@settings(deadline=None)
@given(st.frozensets(ids, min_size=1), st.lists(singles, min_size=1, max_size=4))
def test_leaving_gives_what_was_asked_for(founders: frozenset[int], wanted: list[ConfChangeSingle]) -> None:
    change = ConfChange(tuple(wanted), Transition.JOINT_EXPLICIT)
    try:
        joint = confchange.apply(Membership(voters=founders), change)
    except confchange.ConfChangeError:
        return
    assert joint.outgoing == founders
    assert not joint.auto_leave
    after = confchange.apply(joint, ConfChange())
    last = {single.member_id: single.kind for single in wanted}
    for member, kind in last.items():
        assert (member in after.voters) is (kind is ConfChangeKind.ADD_VOTER)
        assert (member in after.learners) is (kind is ConfChangeKind.ADD_LEARNER)
    untouched = founders - set(last)
    assert untouched <= after.voters


def change(*parts: str, transition: Transition = Transition.AUTO) -> ConfChange:
    kinds = {"v": ConfChangeKind.ADD_VOTER, "l": ConfChangeKind.ADD_LEARNER, "r": ConfChangeKind.REMOVE}
    return ConfChange(tuple(ConfChangeSingle(kinds[part[0]], int(part[1:])) for part in parts), transition)


@pytest.mark.parametrize(
    ("state", "asked", "why"),
    [
        (ConfState(voters=(1,)), change("r1"), "last voter"),
        (ConfState(voters=(1,)), change("l1"), "last voter"),
        (ConfState(voters=(1, 2)), change(), "no joint configuration to leave"),
        (ConfState(voters=(1,), voters_outgoing=(1, 2)), change("v3"), "must be left"),
        (ConfState(voters=(1,), voters_outgoing=(1, 2)), change("v3", "v4"), "must be left"),
        (ConfState(), change("v1", "v2"), "without voters"),
        (ConfState(voters=(1, 2)), change("r1", "r2"), "last voter"),
    ],
)
def test_changes_that_do_not_fit(state: ConfState, asked: ConfChange, why: str) -> None:
    with pytest.raises(confchange.ConfChangeError, match=why):
        confchange.apply(Membership.of(state), asked)


@pytest.mark.parametrize(
    ("asked", "after"),
    [
        (change("v4"), ConfState(voters=(1, 2, 3, 4))),
        (change("r3"), ConfState(voters=(1, 2))),
        (change("l3"), ConfState(voters=(1, 2), learners=(3,))),
        (change("l4"), ConfState(voters=(1, 2, 3), learners=(4,))),
        (change("v2"), ConfState(voters=(1, 2, 3))),
        (change("r9"), ConfState(voters=(1, 2, 3))),
        (change("v4", "r1"), ConfState((2, 3, 4), (), (1, 2, 3), (), True)),
        (change("l1", transition=Transition.JOINT_IMPLICIT), ConfState((2, 3), (), (1, 2, 3), (1,), True)),
        (change("l1", transition=Transition.JOINT_EXPLICIT), ConfState((2, 3), (), (1, 2, 3), (1,), False)),
        (change("l1", "v1", "v4"), ConfState((1, 2, 3, 4), (), (1, 2, 3), (), True)),
    ],
)
def test_changes(asked: ConfChange, after: ConfState) -> None:
    assert confchange.apply(Membership(voters=frozenset((1, 2, 3))), asked).conf_state == after
