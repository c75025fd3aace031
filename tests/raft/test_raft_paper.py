"""The Raft paper (Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm", extended version),
section by section.
"""

from __future__ import annotations

import random

import pytest
from raft_alone import Alone, Group, entries

from kvstore.invariant import InvariantViolation
from kvstore.raft.types import (
    ConfChange,
    ConfChangeKind,
    ConfChangeSingle,
    ConfState,
    Entry,
    HardState,
    Message,
    MessageKind,
    Role,
    SnapshotMeta,
    Transition,
)

APPEND, APPEND_REPLY = MessageKind.APPEND, MessageKind.APPEND_REPLY
VOTE, VOTE_REPLY = MessageKind.VOTE, MessageKind.VOTE_REPLY
HEARTBEAT, HEARTBEAT_REPLY = MessageKind.HEARTBEAT, MessageKind.HEARTBEAT_REPLY


def of(messages: list[Message], kind: MessageKind) -> list[Message]:
    return [m for m in messages if m.kind is kind]


def only(messages: list[Message], kind: MessageKind) -> Message:
    (message,) = of(messages, kind)
    return message


def in_role(role: Role) -> Alone:
    alone = Alone(terms=[1], hard=HardState(1, 0, 0))
    if role is Role.LEADER:
        return alone.elect()
    if role is Role.CANDIDATE:
        alone.node.campaign()
        alone.drain()
    return alone


class TestSection51Basics:
    """Terms are a logical clock."""

    @pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE, Role.LEADER])
    @pytest.mark.parametrize("kind", [APPEND, HEARTBEAT, VOTE, APPEND_REPLY, VOTE_REPLY])
    def test_a_larger_term_is_taken_over_and_makes_a_follower(self, role: Role, kind: MessageKind) -> None:
        alone = in_role(role)
        term = alone.node.term + 3
        alone.step(kind, 2, term)
        assert (alone.node.term, alone.node.role) == (term, Role.FOLLOWER)
        assert alone.log.hard.term == term, "it is on disk before anything is said in it"

    @pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE, Role.LEADER])
    def test_requests_of_a_smaller_term_are_rejected(self, role: Role) -> None:
        alone = in_role(role)
        before = alone.node.term, alone.node.role, alone.terms()
        assert of(alone.step(VOTE, 2, 0, index=9, log_term=9), VOTE_REPLY) == []
        alone.step(APPEND, 2, 0, entries=entries([7, 7]))
        assert (alone.node.term, alone.node.role, alone.terms()) == before

    def test_a_stale_leader_learns_that_it_is_stale(self) -> None:
        alone = Alone(terms=[1], hard=HardState(5, 0, 0), pre_vote=True, check_quorum=True)
        assert only(alone.step(HEARTBEAT, 2, 1), APPEND_REPLY).term == 5

    def test_two_leaders_in_one_term_are_never_silently_accepted(self) -> None:
        alone = in_role(Role.LEADER)
        with pytest.raises(InvariantViolation, match="two leaders"):
            alone.step(APPEND, 2)


class TestSection52Election:
    def test_members_start_as_followers(self) -> None:
        assert Alone().node.role is Role.FOLLOWER

    def test_a_leader_sends_heartbeats_to_everybody(self) -> None:
        alone = in_role(Role.LEADER)
        assert [m.to for m in of(alone.tick(), HEARTBEAT)] == [2, 3]

    def test_a_follower_that_hears_a_leader_stays_one(self) -> None:
        alone = Alone()
        for _ in range(50):
            alone.tick(9)
            alone.step(HEARTBEAT, 2, 1)
        assert alone.node.role is Role.FOLLOWER

    @pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE])
    def test_a_timeout_starts_an_election(self, role: Role) -> None:
        alone = in_role(role)
        before = alone.node.term
        requests = of(alone.tick(10), VOTE)
        assert [m.to for m in requests] == [2, 3]
        assert alone.node.term == before + 1 == requests[0].term
        assert alone.log.hard == HardState(before + 1, 1, 0), "it votes for itself, on disk"

    @pytest.mark.parametrize(
        ("size", "granted", "refused", "role"),
        [
            (1, [], [], Role.LEADER),
            (3, [2], [], Role.LEADER),
            (3, [2, 3], [], Role.LEADER),
            (3, [], [], Role.CANDIDATE),
            (3, [], [2], Role.CANDIDATE),
            (3, [], [2, 3], Role.FOLLOWER),
            (5, [2], [], Role.CANDIDATE),
            (5, [2], [3, 4], Role.CANDIDATE),
            (5, [2, 3], [4, 5], Role.LEADER),
            (5, [2], [3, 4, 5], Role.FOLLOWER),
            (4, [2], [], Role.CANDIDATE),
            (4, [2, 3], [], Role.LEADER),
        ],
    )
    def test_a_majority_of_votes_wins(self, size: int, granted: list[int], refused: list[int], role: Role) -> None:
        alone = Alone(range(1, size + 1))
        alone.node.campaign()
        alone.drain()
        for voter in granted:
            alone.step(VOTE_REPLY, voter)
        for voter in refused:
            alone.step(VOTE_REPLY, voter, reject=True)
        assert alone.node.role is role

    def test_a_voter_counts_once_and_strangers_do_not(self) -> None:
        alone = Alone(range(1, 6))
        alone.node.campaign()
        alone.drain()
        for voter in (2, 2, 2, 77):
            alone.step(VOTE_REPLY, voter)
        assert alone.node.role is Role.CANDIDATE

    @pytest.mark.parametrize(("vote", "asks", "granted"), [(0, 2, True), (2, 2, True), (2, 3, False), (1, 2, False)])
    def test_one_vote_a_term_first_come_first_served(self, vote: int, asks: int, granted: bool) -> None:
        alone = Alone(hard=HardState(1, vote, 0))
        assert only(alone.step(VOTE, asks), VOTE_REPLY).reject is not granted
        assert alone.log.hard.vote == (asks if granted else vote)

    def test_the_vote_survives_a_crash(self) -> None:
        alone = Alone()
        alone.step(VOTE, 2, 1)
        again = Alone(hard=alone.log.hard)
        assert only(again.step(VOTE, 3, 1), VOTE_REPLY).reject

    @pytest.mark.parametrize("kind", [APPEND, HEARTBEAT])
    def test_a_candidate_follows_a_leader_of_its_term(self, kind: MessageKind) -> None:
        alone = in_role(Role.CANDIDATE)
        alone.step(kind, 3)
        assert (alone.node.role, alone.node.leader) == (Role.FOLLOWER, 3)

    def test_timeouts_are_random_within_one_and_two(self) -> None:
        seen = set()
        for seed in range(200):
            alone = Alone(randrange=random.Random(seed).randrange)
            ticks = 0
            while alone.node.role is Role.FOLLOWER:
                alone.tick()
                ticks += 1
            seen.add(ticks)
        assert seen == set(range(10, 20))


class TestSection53Replication:
    def test_a_leader_appends_and_sends_in_parallel(self) -> None:
        alone = in_role(Role.LEADER)
        last, commit = alone.node.last_index, alone.node.commit
        alone.node.propose(b"x")
        ready = alone.node.ready()
        wanted = [Entry(alone.node.term, last + 1, 0, b"x")]
        assert ready.entries == wanted
        assert [(m.to, m.index, m.log_term, m.commit) for m in of(ready.messages, APPEND)] == [
            (peer, last, alone.node.term, commit) for peer in (2, 3)
        ]
        assert all(m.entries == wanted for m in ready.messages)

    @pytest.mark.parametrize(
        ("size", "acknowledged", "committed"),
        [
            (1, [], True),
            (3, [], False),
            (3, [2], True),
            (4, [2], False),
            (4, [2, 3], True),
            (5, [2], False),
            (5, [2, 4], True),
        ],
    )
    def test_a_majority_commits(self, size: int, acknowledged: list[int], committed: bool) -> None:
        alone = Alone(range(1, size + 1)).elect()
        alone.node.propose(b"x")
        alone.drain()
        for peer in acknowledged:
            alone.step(APPEND_REPLY, peer, index=alone.node.last_index)
        assert (alone.node.commit == alone.node.last_index) is committed
        assert (bool(alone.applied) and alone.applied[-1].data == b"x") is committed

    def test_a_leader_counts_itself_only_once_it_has_saved(self) -> None:
        alone = Alone().elect()
        alone.node.propose(b"x")
        ready = alone.node.ready()
        alone.log.write(ready)
        alone.node.step(Message(APPEND_REPLY, 1, 2, alone.node.term, index=alone.node.last_index))
        assert alone.node.commit == alone.node.last_index - 1
        alone.node.saved(ready)
        assert alone.node.commit == alone.node.last_index

    def test_committing_commits_what_earlier_leaders_left(self) -> None:
        alone = Alone(terms=[1, 2, 2]).elect(acknowledge=False)
        assert alone.node.commit == 0
        alone.step(APPEND_REPLY, 2, index=4)
        assert [e.index for e in alone.applied] == [1, 2, 3, 4]

    def test_followers_learn_the_commit_index_and_apply_in_order(self) -> None:
        alone = Alone()
        alone.step(APPEND, 2, 1, entries=entries([1, 1, 1]), commit=2)
        assert [e.index for e in alone.applied] == [1, 2]
        alone.step(APPEND, 2, 1, index=3, log_term=1, commit=3)
        assert [e.index for e in alone.applied] == [1, 2, 3]

    def test_the_commit_index_never_runs_ahead_of_what_was_checked(self) -> None:
        """Figure 2, AppendEntries 5: min(leaderCommit, index of last new entry)."""
        alone = Alone(terms=[1, 1, 1], hard=HardState(2, 0, 0))
        alone.step(APPEND, 2, 2, index=1, log_term=1, commit=3)
        assert alone.node.commit == 1

    @pytest.mark.parametrize(
        ("index", "log_term", "fits"), [(0, 0, True), (1, 1, True), (2, 2, True), (2, 1, False), (3, 2, False)]
    )
    def test_the_consistency_check(self, index: int, log_term: int, fits: bool) -> None:
        alone = Alone(terms=[1, 2])
        reply = only(alone.step(APPEND, 2, index=index, log_term=log_term), APPEND_REPLY)
        assert (reply.reject, reply.index) == (not fits, index)

    @pytest.mark.parametrize(
        ("index", "log_term", "sent", "result"),
        [
            (2, 2, [3], [1, 2, 3]),
            (1, 1, [3, 4], [1, 3, 4]),
            (0, 0, [1], [1, 2]),  # nothing conflicts: nothing is deleted
            (0, 0, [1, 2, 2], [1, 2, 2]),
            (0, 0, [3], [3]),
        ],
    )
    def test_conflicting_entries_are_replaced(
        self, index: int, log_term: int, sent: list[int], result: list[int]
    ) -> None:
        alone = Alone(terms=[1, 2])
        reply = only(
            alone.step(APPEND, 2, 4, index=index, log_term=log_term, entries=entries(sent, index + 1)), APPEND_REPLY
        )
        assert alone.terms() == result
        assert reply.index == index + len(sent)

    def test_a_committed_entry_is_never_replaced(self) -> None:
        alone = Alone(terms=[1, 1], hard=HardState(1, 0, 2))
        with pytest.raises(InvariantViolation, match="committed entries must stay"):
            alone.step(APPEND, 2, 2, index=2, log_term=1, entries=[Entry(2, 2)])
        assert alone.terms() == [1, 1]

    def test_an_append_from_before_the_commit_index_changes_nothing(self) -> None:
        alone = Alone(terms=[1, 1], hard=HardState(1, 0, 2))
        reply = only(alone.step(APPEND, 2, 2, index=0, log_term=0, entries=entries([2, 2])), APPEND_REPLY)
        assert (alone.terms(), reply.index, reply.reject) == ([1, 1], 2, False)

    FIGURE_7 = {
        "a": [1, 1, 1, 4, 4, 5, 5, 6, 6],
        "b": [1, 1, 1, 4],
        "c": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
        "d": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
        "e": [1, 1, 1, 4, 4, 4, 4],
        "f": [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
    }

    @pytest.mark.parametrize("name", FIGURE_7)
    def test_figure_7_every_follower_ends_up_with_the_leaders_log(self, name: str) -> None:
        leader = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6]
        group = Group({1: leader, 2: self.FIGURE_7[name], 3: []}, terms={1: 7, 2: 7, 3: 7})
        group.members[1].node.campaign()  # the empty log of 3 gives it the majority, whatever 2 thinks
        group.settle()
        assert group.members[1].node.role is Role.LEADER
        group.tick(1, 2)
        assert group.members[1].terms() == group.members[2].terms() == group.members[3].terms() == [*leader, 8]
        assert [e.data for e in group.members[1].log.held] == [e.data for e in group.members[2].log.held]

    def test_the_hint_skips_whole_terms(self) -> None:
        """The optimization at the section's end: one round a term, not one an entry."""
        alone = Alone(terms=[1] * 10 + [5], hard=HardState(5, 0, 0)).elect(acknowledge=False)
        # The follower has 1 1 1 2 2 2 2 2 2 2: its terms up to 10 are at most 2, so everything behind our last 1 is
        # skipped.
        reply = of(alone.step(APPEND_REPLY, 2, index=11, reject=True, reject_hint=10, log_term=2), APPEND)
        assert [(m.index, m.log_term) for m in reply] == [(10, 1)]
        follower = Alone(terms=[1, 1, 1, 2, 2, 2, 2, 2, 2, 2], hard=HardState(6, 0, 0))
        hint = only(follower.step(APPEND, 2, 6, index=10, log_term=1), APPEND_REPLY)
        assert (hint.reject_hint, hint.log_term) == (3, 1)


class TestSection541ElectionRestriction:
    @pytest.mark.parametrize(
        ("log", "index", "log_term", "granted"),
        [
            ([1], 1, 1, True),
            ([1], 2, 1, True),
            ([1], 1, 2, True),
            ([1, 1], 1, 2, True),
            ([1, 1], 1, 1, False),
            ([2], 1, 1, False),
            ([2], 5, 1, False),
            ([], 0, 0, True),
        ],
    )
    def test_votes_go_to_logs_at_least_as_good(self, log: list[int], index: int, log_term: int, granted: bool) -> None:
        alone = Alone(terms=log, hard=HardState(3, 0, 0))
        assert only(alone.step(VOTE, 2, 4, index=index, log_term=log_term), VOTE_REPLY).reject is not granted

    def test_the_request_says_how_good_ones_log_is(self) -> None:
        alone = Alone(terms=[1, 2, 2])
        alone.node.campaign()
        assert [(m.index, m.log_term) for m in of(alone.drain(), VOTE)] == [(3, 2)] * 2


class TestSection542CommittingEarlierTerms:
    @pytest.mark.parametrize(("index", "commit"), [(1, 0), (2, 0), (3, 3)])
    def test_only_entries_of_the_own_term_are_committed_by_counting(self, index: int, commit: int) -> None:
        alone = Alone(terms=[1, 2], hard=HardState(2, 0, 0)).elect(acknowledge=False)
        alone.step(APPEND_REPLY, 2, index=index)
        assert alone.node.commit == commit

    def test_figure_8(self) -> None:
        """(c): an entry of term 2 on a majority is not committed; (d): so it can be overwritten; (e): or saved by a
        newer one.
        """
        group = Group({1: [1, 2], 2: [1, 2], 3: [1], 4: [1], 5: [1, 3]}, terms={1: 3, 2: 3, 3: 3, 4: 3, 5: 3})
        group.down = {4, 5}
        # (c) S1 leads term 4 and replicates its old entry to S3, but its own entry of term 4 gets nowhere.
        first = group.members[1]
        first.node.campaign()
        first.drain()
        for voter in (2, 3):
            first.step(VOTE_REPLY, voter)
        for peer in (2, 3):
            first.step(APPEND_REPLY, peer, index=2)
        assert first.node.role is Role.LEADER
        assert first.node.commit < 2, "a majority has the entry of term 2, and yet it is not safe"
        # (d) S1 is gone; S5 wins with the votes of S2, S3, S4 and overwrites it.
        fifth = group.members[5]
        group.down = {1}
        fifth.node.campaign()  # term 4 is S1's, so the first try may fail
        group.settle()
        fifth.node.campaign()
        group.settle()
        assert fifth.node.role is Role.LEADER
        group.tick(5, 2)
        assert {tuple(group.members[m].terms()) for m in (2, 3, 4, 5)} == {(1, 3, fifth.node.term)}

    def test_figure_8_e_a_newer_entry_on_a_majority_makes_the_old_one_safe(self) -> None:
        group = Group({1: [1, 2], 2: [1, 2], 3: [1], 4: [1], 5: [1, 3]}, terms={1: 3, 2: 3, 3: 3, 4: 3, 5: 3})
        group.down = {4, 5}
        group.members[1].node.campaign()
        group.settle()
        assert group.members[1].node.commit == 3
        group.down = {1}
        fifth = group.members[5]
        for _ in range(3):
            fifth.node.campaign()
            group.settle()
        assert fifth.node.role is not Role.LEADER, "S5 can no longer be elected"


class TestSection6Membership:
    REPLACE = ConfChange(
        (
            ConfChangeSingle(ConfChangeKind.ADD_VOTER, 4),
            ConfChangeSingle(ConfChangeKind.ADD_VOTER, 5),
            ConfChangeSingle(ConfChangeKind.REMOVE, 2),
            ConfChangeSingle(ConfChangeKind.REMOVE, 3),
        ),
        Transition.JOINT_EXPLICIT,
    )

    def joint(self) -> Alone:
        """Leader 1 of voters 1 4 5 and, outgoing, 1 2 3."""
        alone = Alone((1, 2, 3)).elect()
        assert alone.node.propose_conf_change(self.REPLACE)
        alone.drain()
        alone.step(APPEND_REPLY, 2, index=alone.node.last_index)
        assert alone.node.conf_state.voters_outgoing == (1, 2, 3)
        assert alone.node.conf_state.voters == (1, 4, 5)
        return alone

    @pytest.mark.parametrize(
        ("acknowledged", "committed"), [([2], False), ([2, 3], False), ([4, 5], False), ([2, 4], True), ([3, 5], True)]
    )
    def test_commitment_needs_both_majorities(self, acknowledged: list[int], committed: bool) -> None:
        alone = self.joint()
        alone.node.propose(b"x")
        alone.drain()
        for peer in acknowledged:
            alone.step(APPEND_REPLY, peer, index=alone.node.last_index)
        assert (alone.node.commit == alone.node.last_index) is committed

    @pytest.mark.parametrize(
        ("granted", "won"), [([2], False), ([2, 3], False), ([4, 5], False), ([2, 4], True), ([3, 5], True)]
    )
    def test_election_needs_both_majorities(self, granted: list[int], won: bool) -> None:
        alone = Alone((1, 4, 5), outgoing=(1, 2, 3))
        alone.node.campaign()
        assert sorted(m.to for m in alone.drain()) == [2, 3, 4, 5]
        for voter in granted:
            alone.step(VOTE_REPLY, voter)
        assert (alone.node.role is Role.LEADER) is won

    def test_reads_need_both_majorities(self) -> None:
        alone = self.joint()
        alone.step(APPEND_REPLY, 4, index=alone.node.last_index)
        alone.node.read_index(b"r")
        context = of(alone.drain(), HEARTBEAT)[0].context
        for peer in (2, 3):
            alone.step(HEARTBEAT_REPLY, peer, context=context)
        assert alone.read == []
        alone.step(HEARTBEAT_REPLY, 5, context=context)
        assert [read[0] for read in alone.read] == [b"r"]

    def test_new_servers_catch_up_without_a_vote(self) -> None:
        alone = Alone((1, 2), learners=(3,)).elect(acknowledge=False)
        alone.step(APPEND_REPLY, 3, index=1)
        assert alone.node.commit == 0
        alone.step(APPEND_REPLY, 2, index=1)
        assert alone.node.commit == 1

    def test_servers_that_were_removed_cannot_disrupt_the_cluster(self) -> None:
        alone = Alone(check_quorum=True)
        alone.step(HEARTBEAT, 2, 1)
        assert alone.step(VOTE, 9, 50, index=99, log_term=49) == []
        assert alone.node.term == 1
        alone.tick(10)
        assert alone.node.term > 1, "without a leader there is no reason to refuse any more"

    def test_a_leader_that_is_not_in_the_new_configuration_steps_down(self) -> None:
        alone = Alone((1, 2, 3)).elect()
        assert alone.node.propose_conf_change(ConfChange((ConfChangeSingle(ConfChangeKind.REMOVE, 1),)))
        alone.drain()
        index = alone.node.last_index
        # It replicates the entry without counting itself …
        alone.step(APPEND_REPLY, 2, index=index)
        assert (alone.node.commit, alone.node.role) == (index, Role.LEADER)
        alone.step(HEARTBEAT_REPLY, 2, commit=index)
        assert alone.node.role is Role.LEADER
        # … and leaves once those who stay know that it is committed.
        last_words = alone.step(HEARTBEAT_REPLY, 3, commit=index)
        assert alone.node.role is Role.FOLLOWER
        assert [m.to for m in of(last_words, MessageKind.TIMEOUT_NOW)] == [2]


class TestSection7Compaction:
    META = SnapshotMeta(5, 2, ConfState(voters=(1, 2, 3)))

    def test_a_snapshot_replaces_a_log_that_does_not_reach_it(self) -> None:
        alone = Alone(terms=[1, 1], hard=HardState(2, 0, 1))
        reply = only(alone.step(MessageKind.SNAPSHOT, 2, snapshot=self.META), APPEND_REPLY)
        assert (reply.index, reply.reject) == (5, False)
        assert (alone.node.commit, alone.node.last_index, alone.node.applied_index) == (5, 5, 5)
        alone.step(APPEND, 2, index=5, log_term=2, entries=entries([2], 6), commit=6)
        assert [e.index for e in alone.applied] == [6]

    def test_a_log_that_has_the_snapshots_last_entry_is_kept(self) -> None:
        alone = Alone(terms=[1, 1, 1, 1, 2, 2, 2], hard=HardState(2, 0, 1))
        reply = only(alone.step(MessageKind.SNAPSHOT, 2, snapshot=self.META), APPEND_REPLY)
        assert (reply.index, alone.node.commit, alone.node.last_index) == (5, 5, 7)

    def test_an_old_snapshot_is_ignored(self) -> None:
        alone = Alone(terms=[1, 1, 1, 1, 2, 2, 2], hard=HardState(2, 0, 6))
        reply = only(alone.step(MessageKind.SNAPSHOT, 2, snapshot=self.META), APPEND_REPLY)
        assert (reply.index, alone.node.commit, alone.node.last_index) == (6, 6, 7)

    def test_a_snapshot_that_does_not_know_us_is_ignored(self) -> None:
        alone = Alone()
        stranger = SnapshotMeta(5, 2, ConfState(voters=(2, 3)))
        alone.step(MessageKind.SNAPSHOT, 2, 2, snapshot=stranger)
        assert alone.node.last_index == 0

    def test_nothing_is_applied_while_a_snapshot_is_being_installed(self) -> None:
        alone = Alone(terms=[1, 1], hard=HardState(2, 0, 1))
        alone.drain()
        alone.node.step(Message(MessageKind.SNAPSHOT, 1, 2, 2, snapshot=self.META))
        alone.node.step(Message(APPEND, 1, 2, 2, index=5, log_term=2, entries=entries([2], 6), commit=6))
        ready = alone.node.ready()
        assert (ready.snapshot, ready.entries, ready.committed) == (self.META, [], [])
        behind = alone.node.ready()
        assert ([e.index for e in behind.entries], behind.committed) == ([6], [])
        for done in (ready, behind):
            alone.log.write(done)
            alone.log.sync()
            alone.node.saved(done)
        assert [e.index for e in alone.node.ready().committed] == [6]


class TestSection8Clients:
    def test_a_new_leader_commits_an_empty_entry_of_its_term(self) -> None:
        alone = Alone(terms=[1]).elect()
        assert (alone.applied[-1].data, alone.applied[-1].term) == (b"", alone.node.term)

    def test_reads_wait_until_the_leader_knows_what_is_committed(self) -> None:
        alone = Alone(terms=[1, 1]).elect(acknowledge=False)
        alone.node.read_index(b"r")
        for message in of(alone.tick(), HEARTBEAT):
            alone.step(HEARTBEAT_REPLY, message.to, context=message.context)
        assert alone.read == []
        beats = of(alone.step(APPEND_REPLY, 2, index=3), HEARTBEAT)
        alone.step(HEARTBEAT_REPLY, 2, context=beats[0].context)
        assert alone.read == [(b"r", 3)]

    def test_reads_wait_for_a_majority_that_still_follows(self) -> None:
        alone = Alone(range(1, 6)).elect()
        alone.node.read_index(b"r")
        context = of(alone.drain(), HEARTBEAT)[0].context
        alone.step(HEARTBEAT_REPLY, 2, context=context)
        alone.step(HEARTBEAT_REPLY, 2, context=context)
        assert alone.read == []
        alone.step(HEARTBEAT_REPLY, 3, context=context)
        assert alone.read == [(b"r", 1)]

    def test_an_answer_to_an_earlier_round_confirms_no_later_read(self) -> None:
        alone = Alone().elect()
        alone.node.read_index(b"first")
        context = of(alone.drain(), HEARTBEAT)[0].context
        alone.node.read_index(b"second")
        alone.drain()
        alone.step(HEARTBEAT_REPLY, 2, context=context)
        assert [read[0] for read in alone.read] == [b"first"]

    def test_a_deposed_leader_answers_no_read(self) -> None:
        alone = Alone().elect()
        alone.node.read_index(b"r")
        context = of(alone.drain(), HEARTBEAT)[0].context
        term = alone.node.term
        alone.step(HEARTBEAT, 2, term + 1)
        alone.step(HEARTBEAT_REPLY, 3, term, context=context)
        assert alone.read == []
