"""Hand-picked cases of etcd's behaviour, one for each thing the API promises; a real etcd 3.5.1 says what is right.

The cases are in edge_cases.py. Every case starts on an empty store: all keys deleted, all leases revoked. Revisions in
a case and in its answers are counted from the case's start.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from edge_cases import CASES
from harness.answers import Answer, ask, normalise, revision_of
from harness.binaries import subject
from harness.calls import get, grant, put
from harness.cluster import Cluster
from harness.require import require
from harness.watching import KeepAlive, WatchSession

from kvstore.pb import etcd_pb2 as pb


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Cluster, Cluster]]:
    """The oracle and the subject, one member each, for all cases."""
    require("etcd-3.5")
    require(subject())
    with Cluster("etcd-3.5", 1) as oracle, Cluster(subject(), 1) as ours:
        yield oracle, ours


def clean(cluster: Cluster) -> int:
    """Remove all keys and leases; the revision after that."""
    if not cluster.members[0].running:
        # The case before made it crash; that must not fail this one too.
        cluster.restart(0)
    stub = cluster.stub()
    for lease in stub.LeaseLeases(pb.LeaseLeasesRequest(), timeout=5).leases:
        stub.LeaseRevoke(pb.LeaseRevokeRequest(ID=lease.ID), timeout=5)
    stub.DeleteRange(pb.DeleteRangeRequest(key=b"\0", range_end=b"\0"), timeout=5)
    return int(stub.Put(pb.PutRequest(key=b"base"), timeout=5).header.revision)


def relative(value: Any, base: int) -> Any:
    """The answer with its revisions counted from the case's start, so that both servers' numbers compare."""
    if isinstance(value, dict):
        return {k: int(v) - base if k.endswith("revision") and int(v) else relative(v, base) for k, v in value.items()}
    if isinstance(value, list):
        return [relative(v, base) for v in value]
    return value


def run(cluster: Cluster, calls: list[Any]) -> list[Answer]:
    """The answers of one server to a case."""
    base = clean(cluster)
    cluster.stub().DeleteRange(pb.DeleteRangeRequest(key=b"base"), timeout=5)
    base += 1
    answers = []
    for rpc, request in calls:
        if isinstance(request, tuple):
            template, moment = request
            request = type(template).FromString(template.SerializeToString())
            request.revision = base + moment.offset
        answers.append(relative(ask(cluster.stub(), rpc, request), base))
    return answers


@pytest.mark.parametrize("name", CASES)
def test_case(pair: tuple[Cluster, Cluster], name: str) -> None:
    """Each call of the case is answered as etcd answers it."""
    oracle, ours = (run(cluster, CASES[name]) for cluster in pair)
    for (rpc, request), expected, got in zip(CASES[name], oracle, ours, strict=True):
        assert got == expected, f"{rpc} {str(request)[:400]}"


def test_keepalive(pair: tuple[Cluster, Cluster]) -> None:
    """Unknown leases answer TTL 0 without an error, known ones their granted TTL; the stream goes on after both."""
    answers = []
    for cluster in pair:
        base = clean(cluster)
        ask(cluster.stub(), *grant(60, 97))
        stream = KeepAlive(cluster.stub())
        requests = [pb.LeaseKeepAliveRequest(ID=lease) for lease in (97, 12345, 97, 0)]
        answers.append([relative(stream.ask(request), base) for request in requests])
        stream.close()
    assert answers[1] == answers[0]
    assert [a.get("TTL") for a in answers[0]] == ["60", None, "60", None]


def test_a_chosen_lease_id_is_positive(pair: tuple[Cluster, Cluster]) -> None:
    """ID 0 lets the server choose; two choices differ."""
    for cluster in pair:
        stub = cluster.stub()
        chosen = [stub.LeaseGrant(pb.LeaseGrantRequest(TTL=60), timeout=5).ID for _ in range(2)]
        assert min(chosen) > 0
        assert chosen[0] != chosen[1]


def test_leases_expire_and_take_their_keys_along(pair: tuple[Cluster, Cluster]) -> None:
    """Both keys go in one revision, in key order; a lease kept alive stays."""
    seen = []
    for cluster in pair:
        base = clean(cluster)
        session = WatchSession(cluster.stub())
        watcher = session.create(key=b"k", range_end=b"l").watch_id
        for call in (grant(2, 98), grant(60, 99), put(b"k2", lease=98), put(b"k1", lease=98), put(b"k3", lease=99)):
            ask(cluster.stub(), *call)
        session.wait(lambda s=session, w=watcher: len(s.events(w)) >= 5, "the expiry of a lease of 2 s")  # type: ignore[misc]
        seen.append(relative(session.events(watcher), base))
        assert "kvs" not in ask(cluster.stub(), *get(b"k1"))
        assert "kvs" in ask(cluster.stub(), *get(b"k3"))
        session.close()
    assert seen[1] == seen[0]


def test_the_header_carries_the_current_revision(pair: tuple[Cluster, Cluster]) -> None:
    """A read in the past too."""
    for cluster in pair:
        base = clean(cluster)
        ask(cluster.stub(), *put(b"a"))
        answer = cluster.stub().Range(pb.RangeRequest(key=b"a", revision=base), timeout=5)
        assert answer.header.revision == base + 1
        assert normalise(answer)["header"] == {"revision": str(base + 1)}
        assert answer.header.cluster_id
        assert answer.header.member_id
        assert answer.header.raft_term
        assert revision_of(normalise(answer)) == base + 1


def test_a_sort_that_does_not_exist_is_an_error_and_no_crash(pair: tuple[Cluster, Cluster]) -> None:
    """etcd 3.5.1 panics over an unknown sort target; later ones answer what is asked for here."""
    if subject() != "fluyt":
        pytest.skip("real etcd of these versions crashes")
    stub = pair[1].stub()
    answer = ask(stub, *get(b"a", b"z", sort_target=9))
    assert answer == {"code": "INVALID_ARGUMENT", "details": "etcdserver: invalid sort option"}
    assert "header" in ask(stub, *get(b"a"))
