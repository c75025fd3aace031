"""Clients of a simulated cluster: writes, reads, leases and compactions, each on some member at some time."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import Any

from sim_checks import Checks
from sim_cluster import Cluster, Process
from sim_world import World

from kvstore.errors import EtcdError
from kvstore.member.requests import RequestKind
from kvstore.pb import etcd_pb2 as pb


class Clients:
    """Makes requests and tells the checks what came back."""

    def __init__(self, world: World, cluster: Cluster, checks: Checks, keys: int) -> None:
        self.world = world
        self.cluster = cluster
        self.checks = checks
        self.keys = keys
        self.number = 0
        self.leases: dict[int, int] = {}
        self.errors: dict[str, int] = {}
        self.shortest_ttl = 1
        calls: list[tuple[Callable[[Process], None], float]] = [
            (self.put, 10),
            (self.txn, 3),
            (self.delete, 2),
            (self.read, 8),
            (self.grant, 0.7),
            (self.renew, 2),
            (self.revoke, 0.2),
            (self.compact, 0.4),
        ]
        self._calls = [call for call, _ in calls]
        self._weights = list(accumulate(weight for _, weight in calls))

    def act(self) -> None:
        """One request of some kind to some member."""
        running = self.cluster.running()
        if running:
            call = self.world.random.choices(self._calls, cum_weights=self._weights)[0]
            process = self.world.random.choice(running)
            assert process.life is not None
            self.world.enter(process.life, call, process)

    def _key(self) -> bytes:
        return b"k%d" % self.world.random.randrange(self.keys)

    def propose(self, process: Process, kind: int, body: bytes, request: Any, then: Any = None) -> None:
        """Propose; `then(result)` if it is acknowledged."""
        floor = self.checks.top
        told: list[bool] = []
        self.checks.proposed.add(body)

        def done(result: Any, problem: EtcdError | None) -> None:
            if told:
                raise AssertionError("a client was told twice")
            told.append(True)
            if problem is not None and problem.code in (14, 8):
                self.errors[problem.message] = self.errors.get(problem.message, 0) + 1
                return
            if kind in (RequestKind.PUT, RequestKind.TXN, RequestKind.DELETE_RANGE, RequestKind.LEASE_GRANT):
                self.checks.written_ok(kind, body, floor)
            if then is not None and problem is None:
                then(result)

        assert process.member is not None
        try:
            process.member.propose(kind, body, request, done)
        except EtcdError as problem:
            self.errors[problem.message] = self.errors.get(problem.message, 0) + 1

    def _marked(self, request: Any) -> tuple[bytes, Any]:
        """The request with a field that nobody knows, so that no two are the same."""
        self.number += 1
        body = request.SerializeToString() + b"\xba\x3e\x08" + self.number.to_bytes(8, "big")
        return body, type(request).FromString(body)

    def put(self, process: Process) -> None:
        """A put, now and then under a lease."""
        dice = self.world.random
        lease = dice.choice(list(self.leases)) if self.leases and dice.random() < 0.3 else 0
        value = b"v%d" % self.number + bytes(dice.choice((0, 0, 0, 50, 800)))
        self.propose(process, RequestKind.PUT, *self._marked(pb.PutRequest(key=self._key(), value=value, lease=lease)))

    def txn(self, process: Process) -> None:
        """A compare-and-swap."""
        key = self._key()
        request = pb.TxnRequest()
        compare = request.compare.add(result=pb.Compare.EQUAL, target=pb.Compare.VERSION, key=key)
        compare.version = self.world.random.choice((0, 1, 2))
        request.success.add().request_put.CopyFrom(pb.PutRequest(key=key, value=b"t%d" % self.number))
        request.failure.add().request_delete_range.CopyFrom(pb.DeleteRangeRequest(key=key))
        self.propose(process, RequestKind.TXN, *self._marked(request))

    def delete(self, process: Process) -> None:
        """A key, or a few."""
        key = self._key()
        end = key + b"\xff" if self.world.random.random() < 0.3 else b""
        self.propose(process, RequestKind.DELETE_RANGE, *self._marked(pb.DeleteRangeRequest(key=key, range_end=end)))

    def read(self, process: Process) -> None:
        """A linearizable read."""
        member = process.member
        assert member is not None
        floor, key = self.checks.top, self._key()

        def done(problem: EtcdError | None) -> None:
            if problem is None:
                self.checks.read_ok(member, floor)
                member.store.range(pb.RangeRequest(key=key))

        try:
            member.linearizable(done)
        except EtcdError as problem:
            self.errors[problem.message] = self.errors.get(problem.message, 0) + 1

    def grant(self, process: Process) -> None:
        """A new lease."""
        began = self.world.now
        self.number += 1
        ttl = self.world.random.choice((1, 2, 5, 20)) * self.shortest_ttl
        request = pb.LeaseGrantRequest(ID=self.number, TTL=ttl)

        def granted(ttl: int) -> None:
            self.leases[request.ID] = ttl
            self.checks.alive(request.ID, began + ttl)
            if len(self.leases) > 20:
                self.leases.pop(next(iter(self.leases)))

        self.propose(process, RequestKind.LEASE_GRANT, request.SerializeToString(), request, granted)

    def renew(self, process: Process) -> None:
        """A keep-alive of some lease."""
        if not self.leases or process.member is None:
            return
        lease = self.world.random.choice(list(self.leases))
        began = self.world.now

        def done(ttl: int | None, problem: EtcdError | None) -> None:
            if problem is None and ttl:
                self.checks.alive(lease, began + ttl)

        process.member.renew_lease(lease, done)

    def revoke(self, process: Process) -> None:
        """Somebody gives a lease back."""
        if not self.leases:
            return
        lease = self.world.random.choice(list(self.leases))
        del self.leases[lease]
        request = pb.LeaseRevokeRequest(ID=lease)
        self.propose(process, RequestKind.LEASE_REVOKE, request.SerializeToString(), request)

    def compact(self, process: Process) -> None:
        """Forget old revisions, in the tables too."""
        member = process.member
        assert member is not None
        revision = max(1, member.store.revision - self.world.random.randrange(30))
        request = pb.CompactionRequest(revision=revision)
        self.propose(process, RequestKind.COMPACT, request.SerializeToString(), request)

    def disarm(self, process: Process) -> None:
        """The operator made room, and clears the alarms."""
        request = pb.AlarmRequest(action=pb.AlarmRequest.DEACTIVATE, alarm=pb.NONE)
        self.propose(process, RequestKind.ALARM, request.SerializeToString(), request)
