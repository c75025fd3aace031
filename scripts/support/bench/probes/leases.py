"""Rows of leases: renewals a second, and ten thousand of them that expire together while puts go on."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial

from kvstore.pb.etcd_pb2 import LeaseGrantRequest, PutRequest, RangeRequest, RangeResponse, RequestOp, TxnRequest
from support.bench.load.calls import Caller, Request, Single, closed_loop, spread
from support.bench.load.link import drive
from support.bench.load.renewals import Renewals
from support.bench.probes.site import PUT, RANGE, TXN, VALUE, Probe, Site, Values

_GRANT = "/etcdserverpb.Lease/LeaseGrant"
_LONG, _SHORT = 600, 5
_RENEWED = 1000
_PREFIX, _END = b"/leased/", b"/leased0"
_POLL = 0.02
_PATIENCE = 120.0
# More than a store answers one after the other until all leases are gone.
_PUTS = 60_000
# A transaction takes at most 128 operations.
_BATCH = 100
_ids = itertools.count(1_000_001)


def _grant(endpoint: str, count: int, ttl: int) -> list[int]:
    """New leases, granted as fast as the store does it."""
    made = [next(_ids) for _ in range(count)]
    requests: Iterator[Request] = ((_GRANT, LeaseGrantRequest(TTL=ttl, ID=lease).SerializeToString()) for lease in made)
    closed_loop(spread(endpoint, requests, count, 10, 50))
    return made


def _keepalives(depth: int, name: str, site: Site) -> Values:
    leases = _grant(site.leader, _RENEWED, _LONG)
    links = [Renewals(site.leader, leases[n::10], 10, site.plan.seconds, depth) for n in range(10)]
    try:
        took = drive(links)
    finally:
        for link in links:
            link.close()
    yield name, sum(link.answered for link in links) / took


def _attach(endpoint: str, leases: Sequence[int]) -> None:
    """A key on each."""
    batches = [leases[at : at + _BATCH] for at in range(0, len(leases), _BATCH)]
    requests: Iterator[Request] = ((TXN, _puts(batch)) for batch in batches)
    closed_loop(spread(endpoint, requests, len(batches), 1, 4))


def _puts(leases: Sequence[int]) -> bytes:
    puts = [PutRequest(key=b"%s%d" % (_PREFIX, lease), value=b"held", lease=lease) for lease in leases]
    return TxnRequest(success=[RequestOp(request_put=put) for put in puts]).SerializeToString()


class _Disappearance(threading.Thread):
    """Counts the keys that are left, over and over. first, last: when all were still there, and none was any more."""

    def __init__(self, endpoint: str, count: int) -> None:
        super().__init__(daemon=True)
        self.first = self.last = 0.0
        self.problem: Exception | None = None
        self._single = Single(endpoint)
        self._count = count

    def run(self) -> None:
        request = RangeRequest(key=_PREFIX, range_end=_END, count_only=True).SerializeToString()
        deadline = time.perf_counter() + _PATIENCE
        try:
            while not self.last and time.perf_counter() < deadline:
                looked = time.perf_counter()
                left = RangeResponse.FromString(self._single.call(RANGE, request)).count
                if left == self._count:
                    self.first = looked
                elif not left:
                    self.last = time.perf_counter()
                time.sleep(_POLL)
        except (RuntimeError, OSError) as problem:
            self.problem = problem
        finally:
            self._single.close()


def _expiry(site: Site) -> Values:
    endpoint, count = site.leader, site.plan.leases
    leases = _grant(endpoint, count, _SHORT)
    _attach(endpoint, leases)
    requests = ((PUT, PutRequest(key=key, value=VALUE).SerializeToString()) for key in site.keys)
    (caller,) = spread(endpoint, requests, _PUTS, 1, 1)
    watched = _Disappearance(endpoint, count)
    watched.start()
    try:
        drive([caller], lambda: not watched.is_alive())
    finally:
        caller.close()
        watched.join()
    if watched.problem or not watched.last:
        raise RuntimeError(f"{count} leases did not expire: {watched.problem or 'some are left'}")
    yield "expiry", (watched.last - watched.first) * 1000
    yield "expiry-stall", _longest(caller, watched.first, watched.last) * 1000


def _longest(caller: Caller, since: float, until: float) -> float:
    """The longest that a put took which ended in this time, in seconds."""
    took = [took for end, took in zip(caller.ends, caller.took, strict=True) if since <= end <= until + took]
    return max(took, default=until - since)


LEASES = (
    *(
        Probe(f"renewals of leases, {depth} in flight on a stream", (name,), partial(_keepalives, depth, name))
        for depth, name in ((1, "keepalives"), (10, "keepalives-10"))
    ),
    Probe("leases expiring together", ("expiry", "expiry-stall"), _expiry),
)
