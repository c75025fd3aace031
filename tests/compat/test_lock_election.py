"""The Lock and Election services beside those of a real etcd: the same scenario on both gives the same story."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from harness.answers import normalise
from harness.binaries import subject
from harness.cluster import Cluster
from harness.require import require
from harness.stubs import Stub
from harness.wait import wait_until

from kvstore.pb import etcd_pb2 as pb

Pair = tuple[Cluster, Cluster]
Story = list[Any]


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """etcd 3.5.1 and the subject, a member each."""
    require("etcd-3.5")
    with Cluster("etcd-3.5", 1) as oracle, Cluster(subject(), 1) as ours:
        yield oracle, ours


class Teller:
    """Calls one server and writes down what it answers."""

    def __init__(self, stub: Stub, pool: ThreadPoolExecutor) -> None:
        self.stub = stub
        self.story: Story = []
        self._pool = pool

    def ask(self, rpc: str, request: Any, timeout: float = 15.0) -> Any:
        """One call, noted; the response or None."""
        try:
            response = getattr(self.stub, rpc)(request, timeout=timeout)
        except grpc.RpcError as failure:
            self.story.append((rpc, failure.code().name, failure.details()))
            return None
        self.story.append((rpc, normalise(response)))
        return response

    def begin(self, rpc: str, request: Any) -> Any:
        """A call that may take long; not noted."""
        return getattr(self.stub, rpc).future(request, timeout=20)

    def note(self, call: Any) -> Any:
        """Wait for a call that was begun and note how it ended."""
        try:
            response = call.result()
        except grpc.RpcError as failure:
            self.story.append((failure.code().name, failure.details()))
            return None
        except grpc.FutureCancelledError:
            self.story.append("cancelled")
            return None
        self.story.append(normalise(response))
        return response

    def grant(self, lease: int, ttl: int = 60) -> int:
        """A lease."""
        self.stub.LeaseGrant(pb.LeaseGrantRequest(ID=lease, TTL=ttl), timeout=10)
        return lease

    def waiting(self, prefix: bytes, count: int) -> None:
        """Wait until so many keys stand in a queue."""
        request = pb.RangeRequest(key=prefix, range_end=prefix[:-1] + b"0", count_only=True)
        wait_until(lambda: self.stub.Range(request, timeout=5).count == count, f"{count} keys under {prefix!r}")

    def keys(self, prefix: bytes) -> None:
        """Note which keys stand in a queue."""
        found = self.stub.Range(pb.RangeRequest(key=prefix, range_end=prefix[:-1] + b"0"), timeout=5)
        self.story.append([normalise(kv) for kv in found.kvs])


def lock_and_unlock(teller: Teller) -> None:
    """One holder, twice in a row, and an unlock of nothing."""
    lease = teller.grant(0x1001)
    held = teller.ask("Lock", pb.LockRequest(name=b"a", lease=lease))
    teller.ask("Lock", pb.LockRequest(name=b"a", lease=lease))
    teller.keys(b"a/")
    teller.ask("Unlock", pb.UnlockRequest(key=held.key))
    teller.ask("Unlock", pb.UnlockRequest(key=held.key))
    teller.ask("Unlock", pb.UnlockRequest())
    teller.keys(b"a/")


def lock_queue(teller: Teller) -> None:
    """Three callers: each gets it when the one before lets go, in order."""
    leases = [teller.grant(0x1100 + i) for i in range(3)]
    held = teller.ask("Lock", pb.LockRequest(name=b"q", lease=leases[0]))
    second = teller.begin("Lock", pb.LockRequest(name=b"q", lease=leases[1]))
    teller.waiting(b"q/", 2)
    third = teller.begin("Lock", pb.LockRequest(name=b"q", lease=leases[2]))
    teller.waiting(b"q/", 3)
    teller.ask("Unlock", pb.UnlockRequest(key=held.key))
    held = teller.note(second)
    assert not third.done()
    teller.stub.LeaseRevoke(pb.LeaseRevokeRequest(ID=leases[1]), timeout=5)
    teller.note(third)
    teller.keys(b"q/")


def lock_given_up(teller: Teller) -> None:
    """Who goes away while waiting leaves the queue."""
    first, second = teller.grant(0x1201), teller.grant(0x1202)
    teller.ask("Lock", pb.LockRequest(name=b"g", lease=first))
    waiting = teller.begin("Lock", pb.LockRequest(name=b"g", lease=second))
    teller.waiting(b"g/", 2)
    waiting.cancel()
    teller.waiting(b"g/", 1)
    # Who notices the deadline first, client or server, decides the code.
    with pytest.raises(grpc.RpcError):
        teller.stub.Lock(pb.LockRequest(name=b"g", lease=second), timeout=0.5)
    teller.waiting(b"g/", 1)
    teller.keys(b"g/")


def lock_lease_lost(teller: Teller) -> None:
    """A waiter whose lease ends is told so when it would be its turn; an unknown lease is refused."""
    first, second = teller.grant(0x1301), teller.grant(0x1302)
    held = teller.ask("Lock", pb.LockRequest(name=b"l", lease=first))
    waiting = teller.begin("Lock", pb.LockRequest(name=b"l", lease=second))
    teller.waiting(b"l/", 2)
    teller.stub.LeaseRevoke(pb.LeaseRevokeRequest(ID=second), timeout=5)
    teller.ask("Unlock", pb.UnlockRequest(key=held.key))
    teller.note(waiting)
    teller.ask("Lock", pb.LockRequest(name=b"l", lease=0x1399))
    teller.keys(b"l/")


def lock_without_a_lease(teller: Teller) -> None:
    """No lease: one of a minute is granted."""
    held = teller.stub.Lock(pb.LockRequest(name=b"n"), timeout=10)
    lease = int(held.key.partition(b"/")[2], 16)
    left = teller.stub.LeaseTimeToLive(pb.LeaseTimeToLiveRequest(ID=lease, keys=True), timeout=10)
    teller.story.append((left.grantedTTL, list(left.keys) == [held.key], normalise(held)["header"]))
    teller.ask("Unlock", pb.UnlockRequest(key=held.key))


def election(teller: Teller) -> None:
    """Two candidates, proclamations, a resignation."""
    first, second = teller.grant(0x2001), teller.grant(0x2002)
    teller.ask("Leader", pb.LeaderRequest(name=b"e"))
    won = teller.ask("Campaign", pb.CampaignRequest(name=b"e", lease=first, value=b"one"))
    teller.ask("Campaign", pb.CampaignRequest(name=b"e", lease=first, value=b"one again"))
    waiting = teller.begin("Campaign", pb.CampaignRequest(name=b"e", lease=second, value=b"two"))
    teller.waiting(b"e/", 2)
    teller.ask("Leader", pb.LeaderRequest(name=b"e"))
    teller.ask("Proclaim", pb.ProclaimRequest(leader=won.leader, value=b"uno"))
    teller.ask("Leader", pb.LeaderRequest(name=b"e"))
    teller.ask("Resign", pb.ResignRequest(leader=won.leader))
    teller.note(waiting)
    teller.ask("Leader", pb.LeaderRequest(name=b"e"))
    teller.ask("Proclaim", pb.ProclaimRequest(leader=won.leader, value=b"too late"))
    teller.ask("Resign", pb.ResignRequest(leader=won.leader))
    teller.keys(b"e/")


def election_nonsense(teller: Teller) -> None:
    """What is missing, and what is not there."""
    teller.ask("Proclaim", pb.ProclaimRequest(value=b"x"))
    teller.ask("Resign", pb.ResignRequest())
    teller.ask("Campaign", pb.CampaignRequest(name=b"m", lease=0x2999, value=b"x"))
    teller.ask("Proclaim", pb.ProclaimRequest(leader=pb.LeaderKey(name=b"m", key=b"m/1", rev=7, lease=0x2001)))
    teller.ask("Proclaim", pb.ProclaimRequest(leader=pb.LeaderKey(lease=0x2001), value=b"y"))
    teller.ask("Campaign", pb.CampaignRequest(lease=teller.grant(0x2003), value=b"no name"))
    teller.keys(b"m/")
    teller.keys(b"/")


def election_given_up(teller: Teller) -> None:
    """A candidate that goes away is no candidate any more."""
    first, second = teller.grant(0x2101), teller.grant(0x2102)
    teller.ask("Campaign", pb.CampaignRequest(name=b"u", lease=first, value=b"one"))
    waiting = teller.begin("Campaign", pb.CampaignRequest(name=b"u", lease=second, value=b"two"))
    teller.waiting(b"u/", 2)
    waiting.cancel()
    teller.waiting(b"u/", 1)
    teller.keys(b"u/")


def observed(teller: Teller) -> None:
    """An observer sees the leader, each proclamation, and the next leader."""
    first, second = teller.grant(0x2201), teller.grant(0x2202)
    stream = teller.stub.Observe(pb.LeaderRequest(name=b"o"), timeout=20)
    won = teller.stub.Campaign(pb.CampaignRequest(name=b"o", lease=first, value=b"one"), timeout=10)
    teller.story.append(normalise(next(stream).kv))
    teller.stub.Proclaim(pb.ProclaimRequest(leader=won.leader, value=b"uno"), timeout=10)
    teller.story.append(normalise(next(stream).kv))
    waiting = teller.begin("Campaign", pb.CampaignRequest(name=b"o", lease=second, value=b"two"))
    teller.waiting(b"o/", 2)
    teller.stub.LeaseRevoke(pb.LeaseRevokeRequest(ID=first), timeout=10)
    teller.story.append(normalise(next(stream).kv))
    teller.note(waiting)
    late = teller.stub.Observe(pb.LeaderRequest(name=b"o"), timeout=20)
    teller.story.append(normalise(next(late)))
    late.cancel()
    stream.cancel()


SCENARIOS: list[Callable[[Teller], None]] = [
    lock_and_unlock,
    lock_queue,
    lock_given_up,
    lock_lease_lost,
    lock_without_a_lease,
    election,
    election_nonsense,
    election_given_up,
    observed,
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: str(s.__name__))
def test_same_story(pair: Pair, scenario: Callable[[Teller], None]) -> None:
    """Both servers are empty or hold what the scenarios before left, which is the same on both."""
    stories = []
    with ThreadPoolExecutor(4) as pool:
        for cluster in pair:
            teller = Teller(cluster.stub(), pool)
            scenario(teller)
            stories.append(teller.story)
    assert stories[1] == stories[0]
