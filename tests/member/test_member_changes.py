"""Changes of membership: what they do to the table, who waits for them, which ones a leader may propose."""

from __future__ import annotations

from typing import Any

import pytest

from kvstore.errors import EtcdError, error
from kvstore.member.cluster import Cluster, added_member_id
from kvstore.member.consensus.changes import MAX_CHANGES, ChangeQueue, fitted
from kvstore.member.membership import encode_add, encode_id, members_after, members_updated, raft_change
from kvstore.member.reconfigure import checked_urls
from kvstore.member.requests import BatchError, RequestKind, decode
from kvstore.pb.etcd_pb2 import Member
from kvstore.raft import codec
from kvstore.raft.types import ConfChange, ConfChangeKind, ConfChangeSingle, ConfState

ADD, REMOVE, PROMOTE = RequestKind.MEMBER_ADD, RequestKind.MEMBER_REMOVE, RequestKind.MEMBER_PROMOTE


class Rows(dict[bytes, bytes]):
    """A table in memory, as far as the members need one."""

    def put(self, key: bytes, value: bytes) -> None:
        self[key] = value

    def delete(self, key: bytes) -> bool:
        return self.pop(key, None) is not None

    def scan(self) -> list[tuple[bytes, bytes]]:
        return sorted(self.items())


class Tables(dict[str, Rows]):
    def table(self, name: str) -> Any:
        return self.setdefault(name, Rows())


def url(number: int) -> str:
    return f"http://127.0.0.1:{number}"


def cluster_of(*voters: int, learners: tuple[int, ...] = ()) -> Cluster:
    cluster = Cluster(77, Tables())
    for number in (*voters, *learners):
        cluster.put(Member(ID=number, name=f"m{number}", peerURLs=[url(number)], isLearner=number in learners))
    return cluster


def adding(number: int, *, learner: bool = False, at: int | None = None, most: int = 1) -> tuple[int, bytes]:
    return ADD, encode_add(Member(ID=number, peerURLs=[url(at or number)], isLearner=learner), most)


# ---- the table ----


def test_a_change_is_the_same_to_the_table_and_to_raft() -> None:
    """Whatever is done, the configuration that the table speaks of is the one Raft gets."""
    cluster = cluster_of(1, 2, 3)
    for request, change in [
        (adding(4, learner=True), ConfChangeSingle(ConfChangeKind.ADD_LEARNER, 4)),
        ((PROMOTE, encode_id(4)), ConfChangeSingle(ConfChangeKind.ADD_VOTER, 4)),
        (adding(5), ConfChangeSingle(ConfChangeKind.ADD_VOTER, 5)),
        ((REMOVE, encode_id(1)), ConfChangeSingle(ConfChangeKind.REMOVE, 1)),
    ]:
        assert raft_change(*request) == change
        cluster.switch(members_after(cluster, [request]))
    assert cluster.conf_state() == ConfState(voters=(2, 3, 4, 5))
    assert cluster.removed == {1}
    assert cluster.changed


@pytest.mark.parametrize(
    ("requests", "problem"),
    [
        ([(REMOVE, encode_id(9))], "MEMBER_NOT_FOUND"),
        ([(PROMOTE, encode_id(9))], "MEMBER_NOT_FOUND"),
        ([(PROMOTE, encode_id(1))], "MEMBER_NOT_LEARNER"),
        ([adding(2, at=9)], "MEMBER_EXISTS"),
        ([adding(9, at=2)], "PEER_URL_EXISTS"),
        ([adding(8, learner=True)], "TOO_MANY_LEARNERS"),
        ([(REMOVE, encode_id(1)), (REMOVE, encode_id(2))], "MEMBER_NOT_ENOUGH_STARTED"),
        ([(REMOVE, encode_id(1)), adding(9, at=2)], "PEER_URL_EXISTS"),
    ],
)
def test_a_refused_change_changes_nothing(requests: list[tuple[int, bytes]], problem: str) -> None:
    cluster = cluster_of(1, 2, learners=(3,))
    before = dict(cluster.members)
    with pytest.raises(EtcdError) as caught:
        members_after(cluster, requests)
    assert caught.value.message == error(problem).message
    assert cluster.members == before
    assert not cluster.changed


def test_the_limit_of_learners_travels_with_the_request() -> None:
    """Members with other flags must come to the same end."""
    cluster = cluster_of(1, learners=(2,))
    assert len(members_after(cluster, [adding(3, learner=True, most=2)])) == 3


def test_a_removed_id_never_comes_back_but_its_address_may() -> None:
    cluster = cluster_of(1, 2, 3)
    cluster.switch(members_after(cluster, [(REMOVE, encode_id(3))]))
    for request in (adding(3), (REMOVE, encode_id(3)), (PROMOTE, encode_id(3))):
        with pytest.raises(EtcdError, match="member not found"):
            members_after(cluster, [request])
    cluster.switch(members_after(cluster, [adding(4, at=3)]))
    assert list(cluster.members[4].peerURLs) == [url(3)]


def test_an_update_moves_a_member_and_keeps_the_rest_of_it() -> None:
    """etcd 3.5.1 would make a voter of a learner here."""
    cluster = cluster_of(1, learners=(2,))
    cluster.switch(members_updated(cluster, Member(ID=2, peerURLs=[url(9)])))
    assert cluster.members[2] == Member(ID=2, name="m2", peerURLs=[url(9)], isLearner=True)
    with pytest.raises(EtcdError, match="Peer URLs already exists"):
        members_updated(cluster, Member(ID=2, peerURLs=[url(1)]))
    with pytest.raises(EtcdError, match="member not found"):
        members_updated(cluster, Member(ID=7, peerURLs=[url(8)]))


def test_the_table_is_found_again() -> None:
    tables = Tables()
    cluster = Cluster(77, tables)
    for number in (1, 2):
        cluster.put(Member(ID=number, peerURLs=[url(number)]))
    cluster.switch(members_after(cluster, [(REMOVE, encode_id(2))]))
    again = Cluster(77, tables)
    assert again.members == cluster.members
    assert again.removed == {2}
    assert again.changed


def test_nonsense_in_an_entry_is_refused() -> None:
    with pytest.raises(BatchError):
        members_after(cluster_of(1), [(RequestKind.PUT, b"")])
    with pytest.raises(BatchError):
        members_after(cluster_of(1), [(ADD, b"x")])


def test_ids_differ_by_the_time_of_adding() -> None:
    assert added_member_id([url(1)], 100) != added_member_id([url(1)], 101)
    assert added_member_id([url(2), url(1)], 100) == added_member_id([url(1), url(2)], 100)


@pytest.mark.parametrize(
    "bad", [[], [""], ["127.0.0.1:1"], ["http://a"], ["http://a:1/"], ["http://a:1/b"], ["x://a:1"]]
)
def test_bad_urls(bad: list[str]) -> None:
    with pytest.raises(EtcdError, match="given member URLs are invalid"):
        checked_urls(bad)


def test_good_urls_are_trimmed_and_sorted() -> None:
    assert checked_urls([" http://b:2 ", "HTTPS://a:1"]) == ["http://b:2", "https://a:1"]


# ---- who waits ----


class Waiter:
    def __init__(self) -> None:
        self.heard: list[tuple[Any, EtcdError | None]] = []

    def __call__(self, result: Any, problem: EtcdError | None) -> None:
        self.heard.append((result, problem))


def queue_of(count: int) -> tuple[ChangeQueue, list[Waiter]]:
    queue, waiters = ChangeQueue(1, 100), [Waiter() for _ in range(count)]
    for number, waiter in enumerate(waiters):
        queue.add([adding(number + 10)], waiter, deadline=float(number + 1))
    return queue, waiters


def test_a_change_says_whose_it_is_and_what_it_does() -> None:
    queue, waiters = queue_of(2)
    taken = queue.take(5)
    assert [number for number, _ in taken] == [100, 101]
    change = codec.decode_conf_change(taken[1][1])
    batch = decode(change.context)
    assert (batch.origin, batch.first_sequence) == (1, 101)
    assert tuple(raft_change(*request) for request in batch.requests) == change.changes
    assert queue.applied(101) is waiters[1]
    assert queue.applied(101) is None, "it is answered once"
    assert queue.applied(7) is None, "of an earlier life"


def test_what_a_later_term_overtook_is_proposed_again() -> None:
    queue, _ = queue_of(2)
    first = queue.take(5)
    assert queue.take(5) == []
    assert queue.in_flight(5) == first
    assert queue.lost_before(5) == 0
    assert queue.lost_before(6) == 2
    assert queue.in_flight(5) == []
    assert queue.take(6) == first


def test_who_waited_long_enough_hears_it_and_is_not_proposed_again() -> None:
    queue, waiters = queue_of(3)
    queue.take(5)
    late = Waiter()
    queue.add([(REMOVE, encode_id(1))], late, deadline=1.5)
    assert queue.expire(2.0) == [waiters[0], waiters[1], late]
    assert queue.take(5) == [], "what waited in the queue is gone"
    assert queue.applied(100) is None
    assert queue.lost_before(6) == 2
    assert [number for number, _ in queue.take(6)] == [102]
    assert queue.drain() == [waiters[2]]
    assert len(queue) == 0


def test_too_many_changes_are_refused() -> None:
    queue, _ = queue_of(MAX_CHANGES)
    with pytest.raises(EtcdError, match="too many requests"):
        queue.add([adding(1)], Waiter(), 1.0)


# ---- what a leader may propose ----


def test_removing_the_last_voter_goes_through_the_log_without_effect() -> None:
    """Else it would block every change behind it."""
    doomed = ConfChange((ConfChangeSingle(ConfChangeKind.REMOVE, 1),), context=b"c")
    proposed = fitted(doomed, ConfState(voters=(1,), learners=(2,)))
    assert proposed.context == b"c"
    assert [single.member_id for single in proposed.changes] == [0]
    assert fitted(doomed, ConfState(voters=(1, 3))) is doomed
    joint = ConfState(voters=(1,), voters_outgoing=(1, 2), auto_leave=True)
    assert fitted(doomed, joint) is doomed, "it may fit once the joint configuration is left"
