"""Rows of single requests: puts, gets, the two mixed, transactions, puts through a follower, clients in use."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial

from kvstore.pb.etcd_pb2 import Compare, PutRequest, RangeRequest, RequestOp, TxnRequest
from support.bench import h2load
from support.bench.load.calls import Request, closed_loop, spread
from support.bench.load.headers import SHAPES
from support.bench.probes.site import KEY, PUT, RANGE, TXN, VALUE, Probe, Site, Values
from support.bench.rows import IN_FLIGHT
from support.bench.sample import Sample

# More requests a second than any contender answers: prepared ones must not run out before the time is over.
_FASTEST_WRITES, _FASTEST_READS = 50_000, 60_000
# Of clients in use, for each second that other loads take.
_CLIENT_GETS = 16_000
_PUT = PutRequest(key=KEY, value=VALUE).SerializeToString()
_GET = RangeRequest(key=KEY).SerializeToString()
# Keys that transactions of one measurement go through in turn, so that no two of them want one key at once.
_SWAPPED = 4096


def _stored(site: Site, before: int, writes: int) -> None:
    """Every write that was answered made a revision: answers alone do not say that it worked."""
    stored = site.revision() - before
    if stored < writes:
        raise RuntimeError(f"{site.cluster.kind}: {writes} writes were answered, {stored} are stored")


def _told(name: str, sample: Sample) -> Values:
    yield name, sample.rate
    yield from ((f"{name}-{tail}", getattr(sample, tail)) for tail in ("p50", "p90", "p99", "p999"))


def _puts(level: int, site: Site) -> Values:
    before = site.revision()
    sample = h2load.run(site.leader, PUT, _PUT, level, site.plan.seconds)
    _stored(site, before, sample.count)
    yield from _told(f"puts-{level}", sample)


def _gets(level: int, site: Site) -> Values:
    site.put_one()
    yield from _told(f"gets-{level}", h2load.run(site.leader, RANGE, _GET, level, site.plan.seconds))


def _follower_puts(site: Site) -> Values:
    before = site.revision()
    sample = h2load.run(site.followers[0], PUT, _PUT, 100, site.plan.seconds)
    _stored(site, before, sample.count)
    yield "follower-puts-100", sample.rate


def _own(site: Site, requests: Iterator[Request], level: int, fastest: int) -> Sample:
    """The load of our own raw client, which is told how many requests to have ready."""
    connections, streams = h2load.SHAPES[level]
    count = int(fastest * site.plan.seconds)
    return closed_loop(spread(site.leader, requests, count, connections, streams), site.plan.seconds)


def _new_puts(level: int, site: Site) -> Values:
    before = site.revision()
    requests = ((PUT, PutRequest(key=key, value=VALUE).SerializeToString()) for key in site.keys)
    sample = _own(site, requests, level, _FASTEST_WRITES)
    _stored(site, before, sample.count)
    yield f"new-puts-{level}", sample.rate


def _mixed(site: Site) -> Values:
    site.put_one()
    sample = _own(site, itertools.cycle([(RANGE, _GET)] * 4 + [(PUT, _PUT)]), 100, _FASTEST_READS)
    yield "mixed-100", sample.rate


def _swaps(prefix: bytes) -> Iterator[Request]:
    """Each wants its key as the transaction before it on this key has left it."""
    for number in itertools.count():
        key = b"%s/%05d" % (prefix, number % _SWAPPED)
        compare = Compare(result=Compare.EQUAL, target=Compare.VERSION, key=key, version=number // _SWAPPED)
        put = RequestOp(request_put=PutRequest(key=key, value=VALUE))
        yield TXN, TxnRequest(compare=[compare], success=[put]).SerializeToString()


def _transactions(site: Site) -> Values:
    before = site.revision()
    connections, streams = h2load.SHAPES[100]
    count = int(_FASTEST_WRITES * site.plan.seconds) // connections
    # Keys of its own for each connection: only on one connection the order is kept.
    prefixes = [b"%s/%d" % (next(site.keys), n) for n in range(connections)]
    callers = [c for p in prefixes for c in spread(site.leader, _swaps(p), count, 1, streams)]
    sample = closed_loop(callers, site.plan.seconds)
    _stored(site, before, sample.count)
    yield "txn-100", sample.rate


def _client(name: str, site: Site) -> Values:
    site.put_one()
    # So many, instead of so long: a block that differs each time takes long to prepare.
    connections, streams = h2load.SHAPES[100]
    count = int(_CLIENT_GETS * site.plan.seconds)
    callers = spread(site.leader, itertools.repeat((RANGE, _GET)), count, connections, streams, SHAPES[name])
    yield f"client-{name}", closed_loop(callers).rate


def _tails(name: str) -> tuple[str, ...]:
    return (name, f"{name}-p50", f"{name}-p99")


REQUESTS = (
    *(Probe(f"puts, {n:,} in flight", _tails(f"puts-{n}"), partial(_puts, n)) for n in IN_FLIGHT),
    *(Probe(f"puts of new keys, {n:,} in flight", (f"new-puts-{n}",), partial(_new_puts, n)) for n in (100, 1024)),
    *(Probe(f"gets, {n:,} in flight", _tails(f"gets-{n}"), partial(_gets, n)) for n in IN_FLIGHT),
    Probe("80 % gets, 20 % puts", ("mixed-100",), _mixed),
    Probe("transactions", ("txn-100",), _transactions),
    Probe("puts through a follower", ("follower-puts-100",), _follower_puts),
)
CLIENTS = tuple(Probe(f"gets: {s.title}", (f"client-{n}",), partial(_client, n)) for n, s in SHAPES.items())
