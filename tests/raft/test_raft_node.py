"""What an owner may do with a RawNode, and what it is told when it cannot be done."""

from __future__ import annotations

import pytest
from raft_alone import Alone, entries

from kvstore.invariant import InvariantViolation
from kvstore.raft.types import (
    ConfChange,
    ConfChangeKind,
    ConfChangeSingle,
    Entry,
    EntryKind,
    HardState,
    Message,
    MessageKind,
    Role,
    SnapshotMeta,
    Transition,
)

APPEND, APPEND_REPLY, HEARTBEAT = MessageKind.APPEND, MessageKind.APPEND_REPLY, MessageKind.HEARTBEAT


def add(member: int) -> ConfChange:
    return ConfChange((ConfChangeSingle(ConfChangeKind.ADD_VOTER, member),))


def acknowledge(alone: Alone, *peers: int) -> None:
    for peer in peers:
        alone.step(APPEND_REPLY, peer, index=alone.node.last_index)


class TestReady:
    def test_an_idle_member_has_none(self) -> None:
        alone = Alone()
        assert not alone.node.has_ready()

    def test_a_commit_index_alone_does_not_wait_for_the_disk(self) -> None:
        alone = Alone().elect()
        alone.node.propose(b"x")
        alone.drain()
        alone.node.step(Message(APPEND_REPLY, 1, 2, alone.node.term, index=alone.node.last_index))
        ready = alone.node.ready()
        assert ready.hard_state is not None
        assert ready.committed
        assert not ready.must_sync

    def test_a_committed_change_of_membership_does(self) -> None:
        alone = Alone().elect()
        alone.node.propose_conf_change(add(4))
        alone.drain()
        alone.node.step(Message(APPEND_REPLY, 1, 2, alone.node.term, index=alone.node.last_index))
        assert alone.node.ready().must_sync

    def test_what_is_committed_can_be_taken_ahead_of_it(self) -> None:
        alone = Alone().elect()
        alone.node.propose(b"x")
        alone.node.read_index(b"r")
        alone.drain()
        index = alone.node.last_index
        alone.node.step(Message(APPEND_REPLY, 1, 2, alone.node.term, index=index))
        context = (1).to_bytes(8, "big")
        alone.node.step(Message(MessageKind.HEARTBEAT_REPLY, 1, 2, alone.node.term, context=context))
        taken, reads = alone.node.take_ahead()
        assert [(entry.index, entry.data) for entry in taken] == [(index, b"x")]
        assert [state.context for state in reads] == [b"r"]
        alone.node.applied(index)
        ready = alone.node.ready()
        assert (ready.committed, ready.read_states) == ([], [])
        assert [(message.to, message.commit) for message in ready.messages] == [(2, index), (3, index)]
        assert alone.node.take_ahead() == ([], [])

    def test_a_change_of_membership_cannot(self) -> None:
        """Its commit index must be saved, which only a Ready asks for."""
        alone = Alone().elect()
        alone.node.propose_conf_change(add(4))
        alone.drain()
        alone.node.step(Message(APPEND_REPLY, 1, 2, alone.node.term, index=alone.node.last_index))
        assert alone.node.take_ahead() == ([], [])
        assert alone.node.ready().committed

    def test_a_follower_takes_nothing_ahead_but_what_it_has_to_say(self) -> None:
        alone = Alone()
        alone.node.step(Message(APPEND, 1, 2, 1, entries=entries([1]), commit=1))
        assert alone.node.take_messages() == [], "who leads is news that comes first"
        ready = alone.node.ready()
        alone.log.write(ready)
        alone.node.saved(ready)
        alone.node.step(Message(HEARTBEAT, 1, 2, 1, context=b"c"))
        assert alone.node.take_ahead() == ([], [])
        assert [(m.kind, m.context) for m in alone.node.take_messages()] == [(MessageKind.HEARTBEAT_REPLY, b"c")]
        assert alone.node.ready().messages == []

    def test_messages_can_be_taken_before_what_they_tell_is_written(self) -> None:
        alone = Alone().elect()
        alone.node.propose(b"x")
        messages = alone.node.take_messages()
        assert [(m.to, [e.data for e in m.entries]) for m in messages] == [(2, [b"x"]), (3, [b"x"])]
        ready = alone.node.ready()
        assert (ready.messages, [e.data for e in ready.entries]) == ([], [b"x"])

    def test_a_later_save_covers_an_earlier_one(self) -> None:
        alone = Alone((1,)).elect()
        readies = []
        for data in (b"x", b"y"):
            alone.node.propose(data)
            ready = alone.node.ready()
            alone.log.write(ready)
            readies.append(ready)
        alone.node.saved(readies[1])
        assert alone.node.commit == 3
        alone.node.saved(readies[0])
        assert alone.node.commit == 3

    def test_what_was_not_handed_out_cannot_have_been_saved(self) -> None:
        alone = Alone().elect()
        alone.node.propose(b"x")
        ready = alone.node.ready()
        ready.number += 1
        with pytest.raises(InvariantViolation, match="handed out"):
            alone.node.saved(ready)

    def test_the_soft_state_comes_once(self) -> None:
        alone = Alone()
        alone.node.step(Message(HEARTBEAT, 1, 2, 1))
        soft = alone.node.ready().soft_state
        assert soft is not None
        assert (soft.leader, soft.role) == (2, Role.FOLLOWER)
        alone.node.step(Message(HEARTBEAT, 1, 2, 1))
        assert alone.node.ready().soft_state is None

    def test_proposals_between_two_readys_share_a_message(self) -> None:
        alone = Alone().elect()
        for number in range(5):
            alone.node.propose(b"%d" % number)
        appends = [m for m in alone.node.ready().messages if m.kind is APPEND]
        assert [(m.to, len(m.entries)) for m in appends] == [(2, 5), (3, 5)]

    def test_a_commit_index_with_nothing_to_store_gets_no_answer(self) -> None:
        """An answer would say nothing new; but an empty append that asks for one gets it."""
        alone = Alone(terms=[1])
        assert alone.step(APPEND, 2, index=1, log_term=1, commit=1, context=b"commit") == []
        assert alone.node.commit == 1
        assert [m.index for m in alone.step(APPEND, 2, index=1, log_term=1, commit=1)] == [1]


class TestStrangeMessages:
    @pytest.mark.parametrize(("kind", "from_"), [(MessageKind.UNSPECIFIED, 2), (HEARTBEAT, 1), (APPEND_REPLY, 1)])
    def test_what_no_other_member_says_is_ignored_with_its_term(self, kind: MessageKind, from_: int) -> None:
        alone = Alone()
        assert alone.step(kind, from_, 1000) == []
        assert alone.node.term == 0

    def test_answers_of_members_that_are_gone_are_ignored(self) -> None:
        alone = Alone().elect()
        alone.node.propose(b"x")
        alone.drain()
        before = alone.node.commit
        for kind in (APPEND_REPLY, MessageKind.HEARTBEAT_REPLY):
            assert alone.step(kind, 9, index=alone.node.last_index, context=b"x") == []
        assert alone.node.commit == before


class TestPreVotes:
    def test_one_of_an_earlier_term_is_told_ours(self) -> None:
        alone = Alone(hard=HardState(5, 0, 0), pre_vote=True)
        (reply,) = alone.step(MessageKind.PRE_VOTE, 2, 4)
        assert (reply.kind, reply.term, reply.reject) == (MessageKind.PRE_VOTE_REPLY, 5, True)
        alone = Alone(pre_vote=True)
        alone.node.campaign()
        alone.step(MessageKind.PRE_VOTE_REPLY, 2, 5, reject=True)
        assert (alone.node.term, alone.node.role) == (5, Role.FOLLOWER)

    def test_a_refusal_by_a_quorum_ends_the_campaign(self) -> None:
        alone = Alone(pre_vote=True)
        alone.node.campaign()
        for peer in (2, 3):
            alone.step(MessageKind.PRE_VOTE_REPLY, peer, reject=True)
        assert (alone.node.term, alone.node.role) == (0, Role.FOLLOWER)

    def test_who_does_not_vote_is_no_rival(self) -> None:
        alone = Alone(me=3, pre_vote=True)
        alone.node.campaign()
        alone.drain()
        (reply,) = alone.step(MessageKind.PRE_VOTE, 9, 1, index=1, log_term=1)
        assert not reply.reject


class TestSnapshots:
    def compacted(self) -> Alone:
        """A leader whose log begins behind what 2 has, and that has not heard from 2 for an election timeout."""
        alone = Alone(terms=[1] * 5).elect(acknowledge=False)
        acknowledge(alone, 3)
        alone.log.compact(SnapshotMeta(4, 1, alone.node.conf_state))
        alone.node.report_unreachable(2)
        alone.tick(20)
        return alone

    def test_a_member_that_is_silent_gets_none(self) -> None:
        alone = self.compacted()
        assert alone.node.role is Role.LEADER
        sent = alone.step(APPEND_REPLY, 3, index=alone.node.last_index)
        assert MessageKind.SNAPSHOT not in [m.kind for m in sent]
        alone.node.propose(b"x")
        assert [(m.kind, m.to) for m in alone.drain()] == [(APPEND, 3)]

    def test_until_it_is_heard_again(self) -> None:
        alone = self.compacted()
        sent = alone.step(MessageKind.HEARTBEAT_REPLY, 2)
        sent += alone.step(APPEND_REPLY, 2, index=5, reject=True, reject_hint=0)
        assert [(m.kind, m.to) for m in sent if m.kind is not APPEND] == [(MessageKind.SNAPSHOT, 2)]

    def test_reports_about_nothing_change_nothing(self) -> None:
        alone = Alone().elect()
        before = alone.node.status()
        alone.node.report_snapshot(2, True)
        alone.node.report_snapshot(9, False)
        alone.node.report_unreachable(9)
        assert alone.node.status() == before
        follower = Alone()
        follower.node.report_snapshot(2, True)
        follower.node.report_unreachable(2)
        assert follower.drain() == []


class TestProposals:
    def test_without_a_leader_everything_is_dropped(self) -> None:
        alone = Alone()
        assert not alone.node.propose(b"x")
        assert not alone.node.propose_conf_change(add(4))
        assert not alone.node.read_index(b"r")
        alone.node.transfer_leader(2)
        assert alone.drain() == []

    def test_a_follower_passes_them_on(self) -> None:
        alone = Alone()
        alone.step(HEARTBEAT, 2, 1)
        assert alone.node.propose(b"x")
        assert alone.node.propose_conf_change(add(4))
        assert alone.node.read_index(b"r")
        alone.node.transfer_leader(3)
        assert [(m.kind.name, m.to) for m in alone.drain()] == [
            ("PROPOSE", 2),
            ("PROPOSE", 2),
            ("READ_INDEX", 2),
            ("TRANSFER_LEADER", 2),
        ]

    def test_what_is_passed_on_to_a_member_that_does_not_lead_is_dropped(self) -> None:
        alone = Alone()
        assert alone.step(MessageKind.PROPOSE, 2, 0, entries=entries([0])) == []
        assert alone.step(MessageKind.READ_INDEX, 2, 0, context=b"r") == []
        assert alone.node.last_index == 0

    def test_a_leader_takes_what_followers_pass_on(self) -> None:
        alone = Alone().elect()
        alone.step(MessageKind.PROPOSE, 2, 0, entries=entries([0, 0]))
        assert [e.data for e in alone.log.held[-2:]] == [b"0/1", b"0/2"]
        assert alone.terms()[-2:] == [alone.node.term] * 2


class TestMembership:
    def test_one_change_at_a_time(self) -> None:
        alone = Alone().elect()
        assert alone.node.propose_conf_change(add(4))
        assert not alone.node.propose_conf_change(add(5))
        alone.drain()
        acknowledge(alone, 2, 3)
        assert alone.node.conf_state.voters == (1, 2, 3, 4)
        assert alone.node.propose_conf_change(add(5))

    def test_a_new_leader_first_applies_what_earlier_ones_left(self) -> None:
        alone = Alone(terms=[1]).elect(acknowledge=False)
        assert not alone.node.propose_conf_change(add(4))
        acknowledge(alone, 2)
        assert alone.node.propose_conf_change(add(4))

    def test_a_member_does_not_campaign_with_an_unapplied_change(self) -> None:
        alone = Alone(terms=[1, 1], hard=HardState(1, 0, 2))
        alone.log.held[1] = Entry(1, 2, EntryKind.CONF_CHANGE, b"")
        assert not alone.node.campaign()
        alone.drain()
        assert alone.node.campaign()

    def test_a_change_the_owner_rejects_does_not_bind_the_leader(self) -> None:
        """It removes the leader, so the leader takes nothing on; the owner does not apply it: all is as before."""
        alone = Alone((1,)).elect()
        alone.node.propose_conf_change(add(2))
        alone.drain()
        acknowledge(alone, 2)
        assert alone.node.propose_conf_change(ConfChange((ConfChangeSingle(ConfChangeKind.REMOVE, 1),)))
        assert not alone.node.propose(b"x")
        alone.node.step(Message(APPEND_REPLY, 1, 2, alone.node.term, index=alone.node.last_index))
        while alone.node.has_ready():
            ready = alone.node.ready()
            alone.log.write(ready)
            alone.log.sync()
            alone.node.saved(ready)
            if ready.committed:
                alone.node.applied(ready.committed[-1].index)
        assert alone.node.propose(b"x")

    def test_a_leader_that_removes_itself_stays_until_that_is_applied(self) -> None:
        alone = Alone().elect()
        assert alone.node.propose_conf_change(ConfChange((ConfChangeSingle(ConfChangeKind.REMOVE, 1),)))
        alone.drain()
        for peer in (2, 3):
            alone.step(MessageKind.HEARTBEAT_REPLY, peer, commit=99)
        assert alone.node.role is Role.LEADER

    def test_applying_twice_changes_nothing(self) -> None:
        """After a restart, entries come again that the saved membership already has."""
        joint = ConfChange((ConfChangeSingle(ConfChangeKind.REMOVE, 3),), Transition.JOINT_EXPLICIT)
        alone = Alone((1, 2), outgoing=(1, 2, 3))
        before = alone.node.conf_state
        assert alone.node.apply_conf_change(joint) == before
        assert alone.node.apply_conf_change(add(4)) == before

    def test_a_new_leader_leaves_a_joint_configuration_that_an_old_one_entered(self) -> None:
        alone = Alone().elect()
        alone.node.propose_conf_change(
            ConfChange((ConfChangeSingle(ConfChangeKind.REMOVE, 3),), Transition.JOINT_IMPLICIT)
        )
        alone.drain()
        acknowledge(alone, 2)
        assert alone.node.conf_state.auto_leave
        term = alone.node.term + 1
        alone.step(HEARTBEAT, 2, term)  # another one leads, and is gone again
        alone.elect()
        acknowledge(alone, 2, 3)
        assert alone.node.conf_state.voters == (1, 2)
        assert alone.node.conf_state.voters_outgoing == ()


class TestPeerLost:
    def follower(self, **options: object) -> Alone:
        alone = Alone(pre_vote=True, check_quorum=True, **options)  # type: ignore[arg-type]
        alone.step(HEARTBEAT, 2, 1)
        return alone

    def test_losing_the_leader_asks_for_pre_votes(self) -> None:
        alone = self.follower()
        alone.node.peer_lost(2)
        assert [(m.kind.name, m.to, m.term) for m in alone.drain()] == [("PRE_VOTE", 2, 2), ("PRE_VOTE", 3, 2)]
        assert (alone.node.role, alone.node.term, alone.node.leader) == (Role.PRE_CANDIDATE, 1, 0)

    def test_losing_another_follower_is_nothing(self) -> None:
        alone = self.follower()
        alone.node.peer_lost(3)
        assert alone.drain() == []
        assert alone.node.leader == 2

    def test_a_follower_that_hears_the_leader_ignores_pre_votes(self) -> None:
        alone = self.follower()
        assert alone.step(MessageKind.PRE_VOTE, 3, 2, index=9, log_term=9) == []

    def test_one_that_lost_it_too_grants_them(self) -> None:
        alone = self.follower()
        alone.node.peer_lost(2)
        alone.drain()
        (reply,) = alone.step(MessageKind.PRE_VOTE, 3, 2, index=9, log_term=1)
        assert (reply.kind, reply.reject) == (MessageKind.PRE_VOTE_REPLY, False)

    def test_a_learner_waits_but_knows(self) -> None:
        alone = self.follower(voters=(2, 3), learners=(1,))
        alone.node.peer_lost(2)
        assert alone.drain() == []
        assert (alone.node.leader, alone.node.role) == (0, Role.FOLLOWER)

    def test_hearing_the_leader_again_ends_it(self) -> None:
        alone = self.follower()
        alone.node.peer_lost(2)
        alone.step(HEARTBEAT, 2, 1)
        assert (alone.node.role, alone.node.leader) == (Role.FOLLOWER, 2)

    def test_a_tie_is_broken_only_while_both_have_just_begun(self) -> None:
        """Whoever is still no leader two heartbeats later lets others try, whatever their id.

        One heartbeat may be the very next moment, if the tick was due.
        """
        alone = Alone(me=3, pre_vote=True, check_quorum=True)
        alone.step(HEARTBEAT, 1, 1)
        alone.node.peer_lost(1)
        alone.drain()
        refused, again = alone.step(MessageKind.PRE_VOTE, 2, 2)
        assert (refused.reject, again.kind, again.to) == (True, MessageKind.PRE_VOTE, 2)
        alone.tick()
        assert [m.kind for m in alone.step(MessageKind.PRE_VOTE, 2, 2)] == [m.kind for m in (refused, again)]
        alone.tick()
        (granted,) = alone.step(MessageKind.PRE_VOTE, 2, 2)
        assert (granted.kind, granted.reject) == (MessageKind.PRE_VOTE_REPLY, False)

    def test_a_better_candidate_gets_the_worse_ones_support(self) -> None:
        """A pre-vote that comes after that no longer makes it campaign."""
        alone = Alone(me=2, pre_vote=True, check_quorum=True)
        alone.step(HEARTBEAT, 1, 1)
        alone.node.peer_lost(1)
        alone.drain()
        (granted,) = alone.step(MessageKind.PRE_VOTE, 3, 2)
        assert (granted.kind, granted.reject) == (MessageKind.PRE_VOTE_REPLY, False)
        assert alone.step(MessageKind.PRE_VOTE_REPLY, 3, 2) == []
        assert (alone.node.role, alone.node.term) == (Role.FOLLOWER, 1)

    def test_of_two_that_ask_a_voter_supports_the_better(self) -> None:
        alone = Alone((1, 2, 3, 4, 5), pre_vote=True, check_quorum=True)
        alone.step(HEARTBEAT, 5, 1)
        alone.tick(10)
        assert not alone.step(MessageKind.PRE_VOTE, 3, 2)[-1].reject
        assert alone.step(MessageKind.PRE_VOTE, 2, 2)[-1].reject
        assert not alone.step(MessageKind.PRE_VOTE, 4, 2)[-1].reject

    def test_a_candidate_asks_again_who_has_lost_the_leader_since(self) -> None:
        """The first request was ignored: the voter had just read the dead leader's last words."""
        alone = Alone(me=3, pre_vote=True, check_quorum=True)
        alone.step(HEARTBEAT, 1, 1)
        alone.node.peer_lost(1)
        alone.drain()
        alone.step(MessageKind.PRE_VOTE_REPLY, 2, 2)
        assert alone.node.role is Role.CANDIDATE
        refused, again = sorted(alone.step(MessageKind.PRE_VOTE, 2, 2), key=lambda m: -m.kind)
        assert (refused.kind, refused.reject, again.kind, again.to) == (
            MessageKind.PRE_VOTE_REPLY, True, MessageKind.VOTE, 2,
        )  # fmt: skip

    def test_who_lost_its_leader_is_in_haste_but_not_for_ever(self) -> None:
        """Campaigns after 3 ticks and 6, then whole timeouts of 10."""
        alone = self.follower()
        alone.node.peer_lost(2)
        alone.drain()
        campaigns = [tick for tick in range(1, 50) if any(m.kind is MessageKind.PRE_VOTE for m in alone.tick())]
        assert campaigns == [3, 9, 19, 29, 39, 49]

    @pytest.mark.parametrize("voted", [False, True])
    def test_who_hears_a_leader_again_is_in_no_haste(self, voted: bool) -> None:
        alone = self.follower()
        alone.node.peer_lost(2)
        if voted:
            alone.step(MessageKind.VOTE, 3, 2)
        alone.step(HEARTBEAT, 3 if voted else 2, 2 if voted else 1)
        assert [tick for tick in range(1, 12) if alone.tick()] == [6]

    def test_a_leader_probes_a_follower_it_lost(self) -> None:
        alone = Alone().elect()
        assert alone.node.status().progress[2].state == "replicate"
        alone.node.peer_lost(2)
        assert alone.node.status().progress[2].state == "probe"

    def test_without_pre_votes_nothing_happens(self) -> None:
        alone = Alone()
        alone.step(HEARTBEAT, 2, 1)
        alone.node.peer_lost(2)
        assert alone.drain() == []
        assert alone.node.leader == 2


class TestSilence:
    def test_a_learner_that_hears_nothing_has_no_leader_any_more(self) -> None:
        alone = Alone((2, 3), learners=(1,))
        alone.step(HEARTBEAT, 2, 1)
        assert alone.node.read_index(b"r")
        alone.tick(10)
        assert (alone.node.role, alone.node.leader) == (Role.FOLLOWER, 0)
        assert not alone.node.read_index(b"r")


class TestTransfer:
    def test_learners_strangers_and_oneself_are_ignored(self) -> None:
        alone = Alone((1, 2), learners=(3,)).elect()
        for member in (1, 3, 9):
            alone.node.transfer_leader(member)
        assert alone.drain() == []
        assert alone.node.propose(b"x")

    def test_another_wish_replaces_the_first(self) -> None:
        alone = Alone().elect()
        alone.node.propose(b"x")
        alone.drain()
        alone.node.transfer_leader(2)
        alone.node.transfer_leader(3)
        assert alone.node.status().transferee == 3
        sent = alone.step(APPEND_REPLY, 2, index=alone.node.last_index)
        assert MessageKind.TIMEOUT_NOW not in [m.kind for m in sent]
        sent = alone.step(APPEND_REPLY, 3, index=alone.node.last_index)
        assert [m.to for m in sent if m.kind is MessageKind.TIMEOUT_NOW] == [3]

    def test_it_waits_for_changes_of_membership_to_be_applied(self) -> None:
        alone = Alone(terms=[1], hard=HardState(1, 0, 1))
        alone.log.held[0] = Entry(1, 1, EntryKind.CONF_CHANGE, b"")
        alone.node.step(Message(MessageKind.TIMEOUT_NOW, 1, 2, 1))
        assert alone.node.role is Role.FOLLOWER
        assert MessageKind.VOTE in [m.kind for m in alone.drain()]

    def test_its_campaign_is_not_refused_for_the_leaders_sake(self) -> None:
        alone = Alone(check_quorum=True)
        alone.step(HEARTBEAT, 2, 1)
        assert alone.step(MessageKind.VOTE, 3, 2) == []
        (reply,) = alone.step(MessageKind.VOTE, 3, 2, context=b"transfer")
        assert not reply.reject


class TestQuorum:
    """What an owner may know about whose answers a commit needs."""

    @pytest.mark.parametrize(
        ("group", "others", "needed"),
        [
            ({"voters": (1,)}, set(), 0),
            ({"voters": (1, 2)}, {2}, 1),
            ({"voters": (1, 2, 3)}, {2, 3}, 1),
            ({"voters": (1, 2, 3, 4)}, {2, 3, 4}, 2),
            ({"voters": (1, 2, 3, 4, 5), "learners": (6,)}, {2, 3, 4, 5}, 2),
            # Two halves must agree: no number says how many.
            ({"voters": (1, 2, 4), "outgoing": (1, 2, 3)}, {2, 3, 4}, 3),
            # One that leads without a vote of its own.
            ({"voters": (2, 3), "learners": (1,)}, {2, 3}, 2),
        ],
    )
    def test_how_many_of_whom(self, group: dict[str, tuple[int, ...]], others: set[int], needed: int) -> None:
        assert Alone(**group).node.quorum == (others, needed)  # type: ignore[arg-type]


class TestAPeerThatConnects:
    def test_hears_at_once_who_leads_and_nobody_else_does(self) -> None:
        alone = Alone().elect()
        alone.drain()
        alone.node.peer_connected(2)
        assert [(m.kind, m.to, m.commit) for m in alone.drain()] == [(HEARTBEAT, 2, 1)]

    def test_its_answer_confirms_no_read(self) -> None:
        alone = Alone().elect()
        acknowledge(alone, 2, 3)
        alone.node.read_index(b"r")
        alone.drain()
        alone.node.peer_connected(2)
        (greeting,) = alone.drain()
        alone.step(MessageKind.HEARTBEAT_REPLY, 2, context=greeting.context)
        assert not alone.read

    def test_hears_nothing_of_who_does_not_lead_or_does_not_know_it(self) -> None:
        follower, leader = Alone(), Alone().elect()
        follower.node.peer_connected(2)
        leader.drain()
        leader.node.peer_connected(9)
        assert not follower.drain() + leader.drain()
