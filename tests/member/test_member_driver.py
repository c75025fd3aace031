"""The order of a turn: promises leave before what is committed is applied, and applying is not put off for ever."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kvstore.member.consensus import busy_poll
from kvstore.member.consensus.changes import ChangeQueue
from kvstore.member.consensus.driver import Driver
from kvstore.member.consensus.proposals import Proposal, ProposalQueue
from kvstore.member.consensus.read_rounds import NEXT_SECONDS
from kvstore.member.consensus.reads import ReadQueue
from kvstore.member.disk import log_sync
from kvstore.member.requests import RequestKind
from kvstore.raft.config import Config
from kvstore.raft.node import RawNode
from kvstore.raft.types import ConfState, Entry, Message, MessageKind, Ready, Role, SnapshotMeta
from kvstore.storage.errors import NoSpace
from kvstore.storage.log import Log


class Turns:
    """A loop that runs what was asked for before a turn, and what is asked for meanwhile in the next one."""

    def __init__(self) -> None:
        self.soon: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()

    def call_soon(self, work: Callable[..., None], *arguments: Any) -> None:
        self.soon.append((work, arguments))

    def call_later(self, delay: float, work: Callable[..., None]) -> None:
        assert 0 < delay <= 0.001, "a follower holds no message back"
        self.soon.append((work, ()))

    def add_reader(self, fd: int, work: Callable[..., None]) -> None:
        self.heard = work

    def remove_reader(self, fd: int) -> None:
        del self.heard

    def time(self) -> float:
        return 0.0

    def turn(self) -> None:
        for _ in range(len(self.soon)):
            work, arguments = self.soon.popleft()
            work(*arguments)

    def run(self) -> None:
        """Until nothing is left to do."""
        while self.soon:
            self.turn()


class Notes:
    """A state machine that notes what is done, in order."""

    crowded = False
    readable = True

    def __init__(self) -> None:
        self.done: list[tuple[str, int]] = []
        self.asked: list[bytes] = []  # rounds of reads
        self.asked_of: list[int] = []
        self.heartbeats: list[bytes] = []  # that were answered
        self.leaders: list[int] = []
        self.appends: list[int] = []  # how many entries each of them had

    def apply(self, entry: Entry, late: Callable[[], bool]) -> bool:
        self.done.append(("applied", entry.index))
        return True

    def foresee(self, index: int, term: int, sequence: int) -> None:
        self.done.append(("foreseen", index))

    def applied_turn(self) -> None:
        pass

    def send(self, messages: Iterable[Message]) -> None:
        for message in messages:
            if message.kind is MessageKind.APPEND and message.entries:
                self.appends.append(len(message.entries))
            if message.kind is MessageKind.APPEND_REPLY:
                self.done.append(("promised", message.index))
            elif message.kind is MessageKind.HEARTBEAT_REPLY:
                self.heartbeats.append(message.context)
            elif message.kind is MessageKind.READ_INDEX:
                self.asked.append(message.context)
                self.asked_of.append(message.to)
            elif message.kind is MessageKind.APPEND and message.commit:
                self.done.append(("told", message.commit))

    def state_changed(self, leader: int, role: Role) -> None:
        self.leaders.append(leader)

    def failed(self, problem: BaseException) -> None:
        raise problem


class Follower:
    """Member 1 of three, whose leader is played by the test."""

    def __init__(self, folder: Path) -> None:
        self.loop, self.notes = Turns(), Notes()
        self.wal = Log.create(folder / "log", metadata=b"test", fsync=False)
        self.wal.install_snapshot(SnapshotMeta(0, 0, ConfState(voters=(1, 2, 3))))
        self.reads = ReadQueue(1, 1.0)
        self.proposals = ProposalQueue(1, 1)
        raw = RawNode(Config(id=1, randrange=lambda n: 0), self.wal)
        self.driver = Driver(
            cast(Any, self.loop),
            raw,
            self.wal,
            self.proposals,
            self.reads,
            ChangeQueue(1, 1),
            cast(Any, self.notes),
        )

    def hear(self, index: int, commit: int) -> None:
        """An append of one entry."""
        entries = [Entry(1, index, 0, b"x")]
        previous = 1 if index > 1 else 0
        message = Message(MessageKind.APPEND, to=1, from_=2, term=1, log_term=previous, index=index - 1)
        message.entries, message.commit = entries, commit
        self.driver.receive([message])


@pytest.fixture
def follower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Follower]:
    """Its disk is quick, whatever this machine's does."""
    made = Follower(tmp_path)
    monkeypatch.setattr(log_sync, "QUICK_SECONDS", 1e9)
    yield made
    made.driver.stop()
    made.wal.close()


def test_a_promise_leaves_before_anything_is_applied(follower: Follower) -> None:
    """It leaves where the entries are heard, with no turn of the loop between: the leader waits for it."""
    follower.hear(1, 0)
    assert follower.notes.done == [("promised", 1)]
    follower.hear(2, 1)
    assert follower.notes.done == [("promised", 1), ("promised", 2)]
    follower.loop.run()
    assert follower.notes.done[2:] == [("applied", 1)]


def test_what_is_heard_while_the_disk_works_is_stored_together(
    follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs: list[int] = []
    monkeypatch.setattr(follower.driver.disk, "start", lambda size, busy: syncs.append(size))
    for index in range(1, 5):
        follower.hear(index, 0)
    assert (syncs, follower.notes.done) == ([1], [])
    for _ in range(2):
        follower.loop.run()
        follower.driver.disk._ended(0.0)
    assert syncs == [1, 3]
    assert follower.notes.done == [("promised", index) for index in range(1, 5)]


def test_entries_in_every_turn_do_not_keep_it_from_applying(follower: Follower) -> None:
    for index in range(1, 50):
        follower.hear(index, index - 1)
        follower.loop.turn()
        applied = [number for what, number in follower.notes.done if what == "applied"]
        assert len(applied) >= index - 3
    assert applied == list(range(1, len(applied) + 1))


def test_a_read_that_came_during_a_round_needs_no_other_event(follower: Follower) -> None:
    """A round's answer begins the next one: the read does not wait for a tick, or for somebody else's request."""
    follower.hear(1, 0)
    for _ in range(3):
        follower.loop.turn()
    served: list[str] = []
    asked = follower.notes.asked
    for name in ("first", "second"):
        follower.reads.add(9.0, lambda problem, name=name: served.append(name))  # type: ignore[misc]
        follower.driver.wake()
        follower.loop.turn()
    assert len(asked) == 1
    answer = Message(MessageKind.READ_INDEX_REPLY, to=1, from_=2, term=1, index=0, context=asked[0])
    follower.driver.receive([answer])
    while follower.loop.soon:
        follower.loop.turn()
    assert served == ["first"]
    assert len(asked) == 2


def test_reads_that_the_old_leader_was_asked_for_are_asked_of_the_new_one_at_once(follower: Follower) -> None:
    """They waited half a second to be asked again."""
    follower.driver.receive([Message(MessageKind.HEARTBEAT, to=1, from_=2, term=1)])
    follower.loop.turn()
    follower.reads.add(9.0, lambda problem: None)
    follower.driver.wake()
    follower.loop.turn()
    assert follower.notes.asked_of == [2]
    follower.driver.receive([Message(MessageKind.HEARTBEAT, to=1, from_=3, term=2)])
    while follower.loop.soon:
        follower.loop.turn()
    assert follower.notes.asked_of == [2, 3]


def test_on_a_full_disk_news_of_a_leader_is_told_once(follower: Follower, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was told again with every attempt to write, also when there was another leader by then."""

    def full(*written: object) -> None:
        raise NoSpace("the log: no space left")

    with monkeypatch.context() as patch:
        patch.setattr(Log, "append", full)
        follower.hear(1, 0)
        for _ in range(3):
            follower.driver.wake()
            follower.loop.turn()
    assert follower.notes.leaders == [2]
    assert follower.notes.done == []
    follower.driver.wake()
    follower.loop.turn()
    assert follower.notes.done == [("promised", 1)]


def test_a_full_disk_keeps_no_leader_in_office_nor_answers_in_memory(
    follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It said for as long as the disk was full that it led, and kept every answer that it may not give."""
    monkeypatch.setattr(Turns, "call_later", lambda *arguments: None)
    lead_on(follower)

    def full(*written: object) -> None:
        raise NoSpace("the log: no space left")

    monkeypatch.setattr(Log, "append", full)
    follower.driver.raw.propose(b"x")
    follower.driver.wake()
    follower.loop.run()
    for _ in range(50):
        follower.driver.receive([Message(MessageKind.HEARTBEAT, to=1, from_=3, term=2)])
        follower.driver.wake()  # as the next tick does
        follower.loop.run()
    assert follower.notes.leaders[-1] == 3
    assert len(follower.driver.raw._raft.messages) <= 1


def test_a_batch_is_passed_on_again_when_its_leader_is_known_again(follower: Follower) -> None:
    """The link was back before it was: what had been lost with the old one was not passed on, and timed out."""
    follower.driver.receive([Message(MessageKind.HEARTBEAT, to=1, from_=2, term=1)])
    follower.loop.run()
    passed: list[int] = []
    follower.notes.send = lambda messages: passed.extend(  # type: ignore[method-assign]
        m.index for m in messages if m.kind is MessageKind.PROPOSE
    )
    follower.driver.passing_on._send = follower.notes.send
    follower.proposals.add(Proposal(1, b"put", None, lambda result, problem: None, 9.0))
    follower.driver.wake()
    follower.loop.run()
    assert passed == [1]
    follower.driver.raw.peer_lost(2)
    follower.driver.passing_on.resend(2)  # the link comes up
    follower.driver.wake()
    follower.loop.run()
    assert passed == [1]
    follower.driver.receive([Message(MessageKind.HEARTBEAT, to=1, from_=2, term=1)])
    follower.loop.run()
    assert passed == [1, 1]


def test_a_client_whose_read_fails_ends_nobody_else(follower: Follower, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is raised while one is served: it ended the member."""
    served: list[object] = []

    def fails(problem: object) -> None:
        raise RuntimeError("of one client")

    follower.driver.receive([Message(MessageKind.HEARTBEAT, to=1, from_=2, term=1)])
    follower.loop.run()
    for done in (fails, served.append):
        follower.reads.add(9.0, done)
    follower.driver.wake()
    follower.loop.run()
    (context,) = follower.notes.asked
    follower.driver.receive([Message(MessageKind.READ_INDEX_REPLY, to=1, from_=2, term=1, context=context)])
    follower.loop.run()
    assert served == [None]
    assert "serving a read failed" in caplog.text


def test_reads_without_a_leader_keep_nobody_awake(follower: Follower) -> None:
    follower.reads.add(9.0, lambda problem: None)
    follower.driver.wake()
    for _ in range(5):
        follower.loop.turn()
    assert not follower.loop.soon, "who leads will be news; until then there is nothing to do"
    assert follower.notes.asked == []


def lead(follower: Follower) -> None:
    """It is elected, and has written and sent its first entry."""
    follower.driver.raw.campaign()
    follower.driver.wake()
    for kind in (MessageKind.PRE_VOTE_REPLY, MessageKind.VOTE_REPLY):
        follower.loop.run()
        follower.driver.receive([Message(kind, to=1, from_=2, term=1)])
    follower.loop.run()


def lead_on(follower: Follower) -> None:
    """It leads, and its first entry is committed."""
    lead(follower)
    follower.driver.receive([Message(MessageKind.APPEND_REPLY, to=1, from_=2, term=1, index=1)])
    follower.loop.run()


def test_a_leader_speaks_before_it_writes_and_says_it_once(follower: Follower, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its followers need not wait for its disk, not even for one that has no room: only the leader itself does."""
    monkeypatch.setattr(Turns, "call_later", lambda *arguments: None)
    lead_on(follower)
    spoken = len(follower.notes.appends)
    said: list[int] = []

    def full(*written: object) -> None:
        said.append(len(follower.notes.appends) - spoken)
        raise NoSpace("the log: no space left")

    with monkeypatch.context() as patch:
        patch.setattr(Log, "append", full)
        follower.driver.raw.propose(b"x")
        for _ in range(3):
            follower.driver.wake()
            follower.loop.run()
    assert said == [1, 1, 1]
    assert (follower.wal.last_index(), follower.driver.raw.last_index) == (1, 2)
    follower.driver.wake()
    follower.loop.run()
    assert len(follower.notes.appends) - spoken == 1
    assert follower.wal.last_index() == 2
    follower.driver.receive([Message(MessageKind.APPEND_REPLY, to=1, from_=2, term=1, index=2)])
    follower.loop.run()
    assert ("applied", 2) in follower.notes.done


def test_what_a_full_disk_keeps_waiting_is_not_overtaken(follower: Follower, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry was applied before the one that waited together with a write that the disk had no room for."""
    monkeypatch.setattr(Turns, "call_later", lambda *arguments: None)
    lead_on(follower)

    def full(*written: object) -> None:
        raise NoSpace("the log: no space left")

    def put() -> None:
        follower.proposals.add(Proposal(1, b"put", None, lambda result, problem: None, 9.0))
        follower.driver.wake()

    def stored(index: int) -> None:
        follower.driver.receive([Message(MessageKind.APPEND_REPLY, to=1, from_=2, term=1, index=index)])
        follower.loop.run()

    for _ in range(2):
        put()
        follower.loop.run()
    with monkeypatch.context() as patch:
        patch.setattr(Log, "append", full)
        put()
        stored(2)  # it is to be applied in the turn that writes the fourth
        stored(3)
        assert not follower.driver.settled, "followers have heard that these are committed"
    follower.driver.wake()
    follower.loop.run()
    assert follower.driver.settled
    assert [index for what, index in follower.notes.done if what == "applied"] == [1, 2, 3]


def test_what_follows_a_snapshot_is_written_with_its_term(follower: Follower, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was written with the term, vote and commit index of before: those that came with a snapshot had gone by."""
    follower.hear(1, 0)
    follower.loop.run()

    def install(ready: Ready, done: Callable[[], None]) -> None:
        assert ready.snapshot is not None
        follower.wal.install_snapshot(ready.snapshot)
        follower.wal.append([], ready.hard_state)
        done()

    monkeypatch.setattr(follower.notes, "install_snapshot", install, raising=False)
    snapshot = SnapshotMeta(5, 2, ConfState(voters=(1, 2, 3)))
    follower.driver.receive([Message(MessageKind.SNAPSHOT, to=1, from_=3, term=4, snapshot=snapshot)])
    follower.loop.run()
    installed = follower.wal.initial_state()[0]
    assert (installed.term, installed.commit) == (4, 5)
    entry = Message(MessageKind.APPEND, to=1, from_=3, term=4, log_term=2, index=5, commit=5)
    entry.entries = [Entry(4, 6, 0, b"x")]
    follower.driver.receive([entry])
    follower.loop.run()
    assert follower.notes.done[-1] == ("promised", 6)
    assert follower.wal.initial_state()[0] == installed


def test_what_is_committed_without_our_disk_is_not_settled(follower: Follower, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both followers have it, and know; this leader may apply it only when its own disk has it, too."""
    monkeypatch.setattr(Turns, "call_later", lambda *arguments: None)
    lead_on(follower)
    assert follower.driver.settled
    monkeypatch.setattr(follower.driver.disk, "here", lambda: None)
    follower.driver.raw.propose(b"x")
    follower.driver.wake()
    follower.loop.run()
    assert follower.driver.settled, "nobody knows of it"
    for peer in (2, 3):
        follower.driver.receive([Message(MessageKind.APPEND_REPLY, to=1, from_=peer, term=1, index=2)])
    assert follower.driver.committed == 2
    assert not follower.driver.settled


def test_an_answer_that_changes_nothing_costs_no_turn(follower: Follower, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slower follower's, for one, when the quicker one's has committed the entry."""
    monkeypatch.setattr(Turns, "call_later", lambda *arguments: None)
    lead(follower)
    for peer, news in ((2, True), (3, True), (3, False)):
        follower.driver.receive([Message(MessageKind.APPEND_REPLY, to=1, from_=peer, term=1, index=1)])
        assert bool(follower.loop.soon) is news
        follower.loop.run()


def test_a_leader_answers_before_it_tells_its_followers_what_is_committed(
    follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless entries flow: then the commit index rides on the next."""
    monkeypatch.setattr(Turns, "call_later", lambda *arguments: None)
    lead(follower)
    follower.driver.receive([Message(MessageKind.APPEND_REPLY, to=1, from_=2, term=1, index=1)])
    for _ in range(2):
        follower.loop.turn()
    assert follower.notes.done == [("applied", 1)]
    while follower.loop.soon:
        follower.loop.turn()
    assert follower.notes.done[1:] == [("told", 1)]


def test_answers_are_thought_of_when_everybody_has_his_work(
    follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The followers first, then our own disk; a client waits for both longer than for us."""
    monkeypatch.setattr(Turns, "call_later", lambda *arguments: None)
    lead_on(follower)
    follower.notes.done.clear()
    order: list[object] = []
    monkeypatch.setattr(follower.notes, "foresee", lambda *which: order.append(which))
    sent, send, sync = follower.notes.appends, follower.notes.send, Log.sync

    def noted(messages: Iterable[Message]) -> None:
        before = len(sent)
        send(messages)
        order.extend("sent" for _ in sent[before:])

    def synced(wal: Log) -> None:
        order.append("synced")
        sync(wal)

    monkeypatch.setattr(follower.driver._outbox, "_send", noted)
    monkeypatch.setattr(Log, "sync", synced)
    follower.proposals.add(Proposal(1, b"put", None, lambda result, problem: None, 9.0))
    follower.driver.wake()
    follower.loop.turn()
    assert order == ["sent", "synced", (2, 1, 1)]
    follower.loop.run()
    assert order.count((2, 1, 1)) == 1


def test_a_leader_stays_awake_for_the_next_read_once_it_has_answered_all(
    follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as reads come soon after answers: a client that is alone asks again at once."""
    now = [0.0]
    monkeypatch.setattr(Turns, "call_later", lambda *arguments: None)
    monkeypatch.setattr(busy_poll, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    lead_on(follower)
    served: list[object] = []

    def read() -> bool:
        """Whether the loop is still awake some turns after the answer."""
        follower.reads.add(9.0, served.append)
        follower.driver.wake()
        follower.loop.turn()
        context = follower.driver.raw._raft.read_round.to_bytes(8, "big")
        follower.driver.receive([Message(MessageKind.HEARTBEAT_REPLY, to=1, from_=2, term=1, context=context)])
        for _ in range(5):
            follower.loop.turn()
        return bool(follower.loop.soon)

    assert read()
    now[0] += NEXT_SECONDS
    follower.loop.run()  # it does not wait for ever
    now[0] += 10.0
    assert not read(), "the last one came ten seconds after the one before"
    for _ in range(40):
        now[0] += NEXT_SECONDS / 10
        awake = read()
    assert awake
    assert served == [None] * 42
    follower.reads.add(9.0, served.append)
    follower.driver.wake()
    for _ in range(5):
        follower.loop.turn()
    assert follower.driver._rounds._poll_next._polling is False
    now[0] += 1.0
    follower.loop.run()


@pytest.mark.parametrize("puts", [1, 2])
def test_a_leader_stays_awake_for_one_put_that_is_alone(
    follower: Follower, monkeypatch: pytest.MonkeyPatch, puts: int
) -> None:
    """Once its own disk has it: then there is nothing else to do, and a follower's word is near."""
    monkeypatch.setattr(Turns, "call_later", lambda *arguments: None)
    monkeypatch.setattr(log_sync.LogSync, "_ask_kernel", lambda sync: False)
    monkeypatch.setattr(busy_poll, "time", SimpleNamespace(perf_counter=lambda: 0.0))
    lead_on(follower)
    for _ in range(puts):
        follower.proposals.add(Proposal(1, b"put", None, lambda result, problem: None, 9.0))
    follower.driver.wake()
    for _ in range(5):
        follower.loop.turn()
    assert bool(follower.loop.soon) is (puts == 1)
    follower.driver.receive([Message(MessageKind.APPEND_REPLY, to=1, from_=2, term=1, index=2)])
    assert ("applied", 2) in follower.notes.done
    for _ in range(5):
        follower.loop.turn()
    assert not follower.loop.soon


def test_a_leader_answers_where_it_hears_that_it_may(follower: Follower, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a turn later, and the followers are told behind that."""
    monkeypatch.setattr(Turns, "call_later", lambda *arguments: None)
    lead(follower)
    follower.driver.receive([Message(MessageKind.APPEND_REPLY, to=1, from_=2, term=1, index=1)])
    assert follower.notes.done == [("applied", 1)]
    follower.loop.run()
    served: list[object] = []
    follower.reads.add(9.0, served.append)
    follower.driver.wake()
    follower.loop.turn()
    context = follower.driver.raw._raft.read_round.to_bytes(8, "big")
    follower.driver.receive([Message(MessageKind.HEARTBEAT_REPLY, to=1, from_=2, term=1, context=context)])
    assert served == [None]
    follower.loop.run()
    assert follower.notes.done == [("applied", 1), ("told", 1)]


def test_who_waits_at_a_follower_is_told_first(follower: Follower, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is applied may even close the link to that follower: a member that moves asks for that itself."""
    monkeypatch.setattr(Turns, "call_later", lambda *arguments: None)
    lead_on(follower)
    passed_on = Message(MessageKind.PROPOSE, to=1, from_=2, log_term=1, index=1)
    passed_on.entries = [Entry(0, 0, data=b"x")]
    follower.driver.receive([passed_on])
    follower.loop.run()
    del follower.notes.done[:]
    follower.driver.receive([Message(MessageKind.APPEND_REPLY, to=1, from_=2, term=1, index=2)])
    follower.loop.run()
    assert follower.notes.done == [("told", 2), ("applied", 2)]


def test_what_waits_to_be_proposed_leaves_before_answers_are_made(
    follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Turns, "call_later", lambda *arguments: None)
    lead(follower)
    said: list[int] = []
    monkeypatch.setattr(Notes, "applied_turn", lambda notes: said.append(len(notes.appends)))
    follower.proposals.add(Proposal(RequestKind.PUT, b"x", None, lambda result, problem: None, 9.0))
    spoken = len(follower.notes.appends)
    follower.driver.receive([Message(MessageKind.APPEND_REPLY, to=1, from_=2, term=1, index=1)])
    assert follower.notes.done == []
    follower.loop.run()
    assert follower.notes.done[:2] == [("told", 1), ("applied", 1)], "the entry carries what is committed"
    assert said == [spoken + 1]


def test_a_follower_answers_a_heartbeat_where_it_hears_it(follower: Follower) -> None:
    follower.driver.receive([Message(MessageKind.APPEND, to=1, from_=2, term=1, entries=[Entry(1, 1)])])
    follower.loop.run()
    follower.driver.receive([Message(MessageKind.HEARTBEAT, to=1, from_=2, term=1, context=b"c")])
    assert follower.notes.heartbeats == [b"c"]
    assert not follower.loop.soon


def test_a_member_that_cannot_write_falls_silent(follower: Follower, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others lead then, and count on others."""

    def full(*written: object) -> None:
        raise NoSpace("the log: no space left")

    monkeypatch.setattr(Log, "append", full)
    follower.driver.receive([Message(MessageKind.APPEND, to=1, from_=2, term=1, entries=[Entry(1, 1)])])
    follower.loop.turn()
    follower.driver.receive([Message(MessageKind.HEARTBEAT, to=1, from_=2, term=1, context=b"c")])
    follower.loop.turn()
    assert follower.notes.heartbeats == []
