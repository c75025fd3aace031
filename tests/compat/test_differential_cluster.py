"""The Cluster service against a real etcd 3.5.1: the same members, the same errors, the same codes.

Ids, ports and times differ between the two; ids are named by the order in which they came to be.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import grpc
import pytest
from harness.answers import ask
from harness.binaries import subject
from harness.cluster import Cluster
from harness.membership import PATIENCE, admit, grow, id_of, member_ids, promote, shrink
from harness.require import require
from harness.stubs import HealthStub
from harness.wait import wait_until

from kvstore.pb import etcd_pb2 as pb
from kvstore.pb import health_pb2

Pair = tuple[Cluster, Cluster]


def both(members: int, *flags: str) -> Iterator[Pair]:
    require("etcd-3.5")
    require(subject())
    with ExitStack() as stack:
        oracle = stack.enter_context(Cluster("etcd-3.5", members, flags))
        yield oracle, stack.enter_context(Cluster(subject(), members, flags))


@pytest.fixture
def one() -> Iterator[Pair]:
    yield from both(1)


@pytest.fixture
def three() -> Iterator[Pair]:
    yield from both(3)


@pytest.fixture
def lax() -> Iterator[Pair]:
    yield from both(1, "--strict-reconfig-check=false")


# What is said while a change of membership cannot be taken yet; the last of them by etcd, if a learner that never ran
# is among its peers.
EARLY = (
    "etcdserver: unhealthy cluster",
    "etcdserver: request timed out",
    "etcdserver: request timed out, possibly due to connection lost",
)


class View:
    """One cluster with the names that make its answers comparable with the other's."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.names: dict[str, str] = {}
        for index, member in enumerate(cluster.members):
            self.names[f"{member.host}:{member.client_port}"] = f"CLIENT{index}"
            self.names[f"{member.host}:{member.peer_port}"] = f"PEER{index}"
        known = member_ids(cluster)
        for index, member in enumerate(cluster.members):
            if member.peer_url in known:
                self.names[str(known[member.peer_url])] = f"FOUNDER{index}"

    def ask(self, rpc: str, request: Any, index: int = 0) -> Any:
        """The answer with names, members in order of their peer URLs (ids order them at random)."""
        answer = ask(self.cluster.stub(index), rpc, request, timeout=5)
        if "member" in answer:
            self.names[answer["member"]["ID"]] = f"ADDED{len(self.names)}"
        return self._named(answer)

    def patiently(self, rpc: str, request: Any, index: int = 0, *, early: tuple[str, ...] = EARLY) -> Any:
        """As ask, but again while the answer is one of those: the cluster is not healthy for long enough.

        etcd forgets a change that comes too soon after another; its client waits until its deadline then.
        """
        last: list[Any] = []

        def attempt() -> bool:
            last[:] = [self.ask(rpc, request, index)]
            return last[0].get("details") not in early and last[0].get("code") != "DEADLINE_EXCEEDED"

        wait_until(attempt, f"{rpc} to be taken", PATIENCE, interval=0.2)
        return last[0]

    def _named(self, value: Any) -> Any:
        if isinstance(value, dict):
            named = {k: self._named(v) for k, v in value.items()}
            if "members" in named:
                named["members"].sort(key=repr)
            return named
        if isinstance(value, list):
            return [self._named(v) for v in value]
        if isinstance(value, str):
            for number, name in self.names.items():
                value = value.replace(number, name)
        return value


def same(pair: Pair, *cases: tuple[str, Any]) -> list[Any]:
    """Ask both; every answer must be the same. Ours."""
    answers = []
    for cluster in pair:
        view = View(cluster)
        answers.append([view.patiently(rpc, request) for rpc, request in cases])
    assert answers[1] == answers[0]
    return answers[1]


def add(*urls: str, learner: bool = False) -> tuple[str, Any]:
    return "MemberAdd", pb.MemberAddRequest(peerURLs=urls, isLearner=learner)


UNKNOWN = 0x1234


def test_one_member_and_what_it_refuses(one: Pair) -> None:
    """Bad URLs, unknown ids, the last member; then a second voter that never starts."""
    bad = [
        (),
        ("",),
        ("localhost:1",),
        ("127.0.0.1",),
        ("ftp://127.0.0.1:1",),
        ("http://127.0.0.1",),
        ("http://127.0.0.1:1/path",),
        ("http://127.0.0.1:1/",),
        ("http://127.0.0.1:x",),
        ("http://127.0.0.1:1", "nonsense"),
    ]
    unknown = [
        ("MemberRemove", pb.MemberRemoveRequest(ID=UNKNOWN)),
        ("MemberUpdate", pb.MemberUpdateRequest(ID=UNKNOWN, peerURLs=["http://127.0.0.1:9"])),
        ("MemberPromote", pb.MemberPromoteRequest(ID=UNKNOWN)),
    ]
    lists = [("MemberList", pb.MemberListRequest(linearizable=linearizable)) for linearizable in (False, True)]
    answers = same(one, *lists, *(add(*urls) for urls in bad), *unknown)
    assert all("code" in answer for answer in answers[len(lists) :])
    last = [View(c).ask("MemberRemove", pb.MemberRemoveRequest(ID=id_of(c, 0))) for c in one]
    assert last[1] == last[0]
    assert "not enough started members" in last[1]["details"]


def test_urls_are_trimmed_and_sorted(one: Pair) -> None:
    """As etcd stores them."""
    same(one, add(" http://127.0.0.1:9 ", "HTTP://127.0.0.1:8", learner=True), ("MemberList", pb.MemberListRequest()))


def test_learners_one_at_a_time(one: Pair) -> None:
    """A second is too many; one that never ran is not ready; the same URL is taken; it can be removed."""
    answers: list[list[Any]] = []
    for cluster in one:
        view, found = View(cluster), []
        found.append(view.patiently(*add("http://127.0.0.1:9", learner=True)))
        learner = int(member_ids(cluster)["http://127.0.0.1:9"])
        found.append(view.patiently(*add("http://127.0.0.1:8", learner=True)))
        # Not the very same addresses: an id is made of them and of the second.
        found.append(view.patiently(*add("http://127.0.0.1:6", "http://127.0.0.1:9")))
        found.append(view.patiently(*add("http://127.0.0.1:7", "http://127.0.0.1:9", learner=True)))
        found.append(view.patiently("MemberPromote", pb.MemberPromoteRequest(ID=learner)))
        founder = id_of(cluster, 0)
        found.append(view.patiently("MemberPromote", pb.MemberPromoteRequest(ID=founder)))
        found.append(
            view.patiently("MemberUpdate", pb.MemberUpdateRequest(ID=founder, peerURLs=["http://127.0.0.1:9"]))
        )
        for _ in range(2):
            found.append(view.patiently("MemberRemove", pb.MemberRemoveRequest(ID=learner)))
        found.append(view.patiently("MemberPromote", pb.MemberPromoteRequest(ID=learner)))
        found.append(
            view.patiently("MemberUpdate", pb.MemberUpdateRequest(ID=learner, peerURLs=["http://127.0.0.1:9"]))
        )
        answers.append(found)
    assert answers[1] == answers[0]


def test_a_second_voter_that_never_starts(one: Pair) -> None:
    """The cluster of one takes it and has no quorum then: no write, no change, and the list still answers."""
    answers: list[list[Any]] = []
    for cluster in one:
        view, found = View(cluster), []
        found.append(view.patiently(*add("http://127.0.0.1:9")))
        found.append(view.patiently("MemberList", pb.MemberListRequest()))
        found.append(view.patiently(*add("http://127.0.0.1:8")))
        found.append(view.ask(*add("http://127.0.0.1:8", learner=True)))
        found.append(view.ask("MemberRemove", pb.MemberRemoveRequest(ID=id_of_list(cluster))))
        answers.append(found)
    assert answers[1] == answers[0]


def id_of_list(cluster: Cluster) -> int:
    """The founder's id, by a read that needs no quorum."""
    answer = cluster.stub().MemberList(pb.MemberListRequest(), timeout=5)
    return next(m.ID for m in answer.members if m.name == "m1")


def test_without_strict_checks(lax: Pair) -> None:
    """What strict checks refuse is taken."""
    answers: list[list[Any]] = []
    for cluster in lax:
        view, found = View(cluster), []
        found.append(view.patiently(*add("http://127.0.0.1:9", learner=True)))
        found.append(view.patiently(*add("http://127.0.0.1:8")))
        found.append(view.patiently("MemberList", pb.MemberListRequest()))
        answers.append(found)
    assert answers[1] == answers[0]


@pytest.mark.timeout(240)
def test_three_members_in_health_and_sickness(three: Pair) -> None:
    """Too early, then in time; a member down; a member never started; back to three."""
    answers: list[list[Any]] = []
    for cluster in three:
        view, found = View(cluster), []
        found.append(view.patiently(*add("http://127.0.0.1:9")))
        found.append(view.ask(*add("http://127.0.0.1:8")))  # the one that was added is not there
        found.append(
            view.patiently("MemberRemove", pb.MemberRemoveRequest(ID=member_ids(cluster)["http://127.0.0.1:9"]))
        )
        down = cluster.followers()[-1]
        helper = next(i for i in range(3) if i != down)
        identity = id_of(cluster, down, helper)
        cluster.kill(down)
        wait_until(lambda c=cluster, h=helper: c.healthy(h), "the rest to go on")
        found.append(view.ask(*add("http://127.0.0.1:7"), index=helper))
        found.append(view.ask(*add("http://127.0.0.1:7", learner=True), index=helper))
        found.append(without_ids(view.patiently("MemberRemove", pb.MemberRemoveRequest(ID=identity), index=helper)))
        answers.append(found)
    assert answers[1] == answers[0]


def without_ids(answer: Any) -> Any:
    """How many members there are: which follower it was is chance."""
    return len(answer.get("members", [])), answer.get("details")


@pytest.mark.timeout(240)
def test_what_a_learner_serves(one: Pair) -> None:
    """Status, serializable reads and snapshots; everything else is refused with etcd's words."""
    unary = [
        ("Status", pb.StatusRequest()),
        ("Range", pb.RangeRequest(key=b"k", serializable=True)),
        ("Range", pb.RangeRequest(key=b"k")),
        ("Put", pb.PutRequest(key=b"k")),
        ("DeleteRange", pb.DeleteRangeRequest(key=b"k")),
        ("Txn", pb.TxnRequest()),
        ("Compact", pb.CompactionRequest(revision=1)),
        ("LeaseGrant", pb.LeaseGrantRequest(TTL=60)),
        ("LeaseRevoke", pb.LeaseRevokeRequest(ID=1)),
        ("LeaseTimeToLive", pb.LeaseTimeToLiveRequest(ID=1)),
        ("LeaseLeases", pb.LeaseLeasesRequest()),
        ("MemberList", pb.MemberListRequest()),
        ("MemberAdd", pb.MemberAddRequest(peerURLs=["http://127.0.0.1:9"])),
        ("MemberRemove", pb.MemberRemoveRequest(ID=1)),
        ("MemberUpdate", pb.MemberUpdateRequest(ID=1, peerURLs=["http://127.0.0.1:9"])),
        ("MemberPromote", pb.MemberPromoteRequest(ID=1)),
        ("Alarm", pb.AlarmRequest()),
        ("Hash", pb.HashRequest()),
        ("HashKV", pb.HashKVRequest()),
        ("Defragment", pb.DefragmentRequest()),
        ("MoveLeader", pb.MoveLeaderRequest(targetID=1)),
        ("AuthStatus", pb.AuthStatusRequest()),
        ("AuthEnable", pb.AuthEnableRequest()),
        ("UserList", pb.AuthUserListRequest()),
        ("Authenticate", pb.AuthenticateRequest(name="a", password="b")),
        ("Lock", pb.LockRequest(name=b"l")),
        ("Unlock", pb.UnlockRequest(key=b"l")),
        ("Campaign", pb.CampaignRequest(name=b"e")),
        ("Leader", pb.LeaderRequest(name=b"e")),
    ]
    answers: list[dict[str, Any]] = []
    for cluster in one:
        cluster.stub().Put(pb.PutRequest(key=b"k", value=b"v"), timeout=5)
        learner = grow(cluster, learner=True)
        stub = cluster.stub(learner)
        found = {f"{rpc} {request}": refusal(ask(stub, rpc, request)) for rpc, request in unary}
        found["Watch"] = streamed(stub.Watch(iter([pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"k"))])))
        found["KeepAlive"] = streamed(stub.LeaseKeepAlive(iter([pb.LeaseKeepAliveRequest(ID=1)])))
        found["Snapshot"] = streamed(stub.Snapshot(pb.SnapshotRequest()))
        found["Observe"] = streamed(stub.Observe(pb.LeaderRequest(name=b"e")))
        found["Health"] = health(cluster, learner)
        promote(cluster, learner)
        wait_until(lambda c=cluster, i=learner: c.healthy(i), "the promoted member to serve")
        answers.append(found)
    assert answers[1] == answers[0]


def refusal(answer: dict[str, Any]) -> Any:
    return (answer["code"], answer["details"]) if "code" in answer else "served"


def streamed(call: Any) -> Any:
    try:
        next(iter(call))
    except grpc.RpcError as failure:
        return failure.code().name, failure.details()
    except StopIteration:
        return "ended"
    call.cancel()
    return "served"


def health(cluster: Cluster, index: int) -> Any:
    cluster.stub(index)
    channel = cluster.members[index].channel
    assert channel is not None
    try:
        return HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5).status
    except grpc.RpcError as failure:
        return failure.code().name, failure.details()


@pytest.mark.timeout(240)
def test_promotion_through_a_follower(three: Pair) -> None:
    """Any member takes it; the answer names the promoted one as a voter; a second time it is refused."""
    answers: list[list[Any]] = []
    for cluster in three:
        learner = grow(cluster, learner=True)
        identity = id_of(cluster, learner)
        view, found = View(cluster), []
        # How soon a learner has caught up is not compared.
        early = (*EARLY, "etcdserver: can only promote a learner member which is in sync with leader")
        (index, *_) = (index for index in cluster.followers()[:2] if index != learner)
        request = pb.MemberPromoteRequest(ID=identity)
        found.append(view.patiently("MemberPromote", request, index=index, early=early))
        found.append(view.patiently("MemberPromote", pb.MemberPromoteRequest(ID=identity)))
        found.append(view.patiently("MemberPromote", pb.MemberPromoteRequest(ID=UNKNOWN)))
        answers.append([len(a.get("members", a)) if "members" in a else a for a in found])
    assert answers[1] == answers[0]


@pytest.mark.timeout(240)
def test_the_exit_of_a_removed_member(three: Pair) -> None:
    """Its exit code, by its own doing and after a restart."""
    codes = []
    for cluster in three:
        victim = cluster.followers()[0]
        helper = next(i for i in range(3) if i != victim)
        first = shrink(cluster, victim, ask=helper)
        codes.append((first, cluster.launch(victim).wait(20)))
    assert codes[1] == codes[0]


@pytest.mark.timeout(120)
def test_who_may_not_join(one: Pair) -> None:
    """Nobody there; more or fewer members than there are; an unknown URL: one line, exit code 1, and nothing left."""
    for cluster in one:
        index = admit(cluster, learner=True)
        member = cluster.members[index]
        good = member.joins
        for wrong in (
            f"{member.name}={member.peer_url},m1=http://127.0.0.1:1",
            f"{good},m9=http://127.0.0.1:1",
            good.replace("m1=", "m9=http://127.0.0.1:1,m1="),
        ):
            member.joins = wrong
            assert cluster.launch(index).wait(30) == 1, wrong
            if cluster.kind == "fluyt":
                last = cluster.log_tail(index, 1, 400)
                assert last.startswith("fluyt store: "), last
                cluster.wipe(index)
        member.joins = good
        cluster.wipe(index)
        cluster.launch(index)
        wait_until(lambda c=cluster, i=index: c.status(i) is not None, "the learner to answer", PATIENCE)
