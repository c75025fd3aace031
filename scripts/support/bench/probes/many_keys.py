"""Rows of a store with many keys: memory, long reads, counting, and the restart of a member."""

from __future__ import annotations

import time
from collections.abc import Callable

from kvstore.pb.etcd_pb2 import RangeRequest, RangeResponse
from support.bench.load.calls import Single
from support.bench.probes.filling import fill
from support.bench.probes.site import RANGE, Probe, Site, Values, resident

_PARTS = 5
_ALL = (b"/many/", b"/many0")
# Between two attempts to reach a member that starts, in seconds.
_POLL = 0.005
_PATIENCE = 120.0


def _memory(site: Site) -> Values:
    """The leader's, as the keys come in fifths; memory-N is what a plot shows."""
    endpoint, pid = site.leader, site.leader_pid
    yield "memory-0", resident(pid)[0]
    for part in range(_PARTS):
        fill(endpoint, b"/many/%d/" % part, site.plan.keys // _PARTS)
        yield f"memory-{part + 1}", resident(pid)[0]
    whole, anonymous = resident(pid)
    yield "rss", whole
    yield "rss-anon", anonymous


def _timed(name: str, request: RangeRequest, right: Callable[[RangeResponse], bool], site: Site) -> Values:
    """Milliseconds until the whole answer is here, some times over on one connection."""
    single, encoded = Single(site.leader), request.SerializeToString()
    try:
        answer = single.raw(RANGE, encoded)
        if not right(RangeResponse.FromString(answer[5:])):
            raise RuntimeError(f"{site.cluster.kind} answered {name} wrongly")
        # From here on its octets are counted: to put 28 MB together would be the generator's time, not the store's.
        single.keep = False
        for _ in range(site.plan.repeats):
            began = time.perf_counter()
            single.raw(RANGE, encoded)
            yield name, (time.perf_counter() - began) * 1000
            if single.octets != len(answer):
                raise RuntimeError(f"{site.cluster.kind} answered {name} in another length than before")
    finally:
        single.close()


def _first_thousand(site: Site) -> Values:
    request = RangeRequest(key=_ALL[0], range_end=_ALL[1], limit=1000)
    keys = site.plan.keys
    return _timed("range-1000", request, lambda answer: len(answer.kvs) == 1000 and answer.count == keys, site)


def _count(site: Site) -> Values:
    request = RangeRequest(key=_ALL[0], range_end=_ALL[1], count_only=True)
    return _timed("count", request, lambda answer: answer.count == site.plan.keys, site)


def _fifth(site: Site) -> Values:
    request = RangeRequest(key=b"/many/0/", range_end=b"/many/00")
    return _timed("range-all", request, lambda answer: len(answer.kvs) == site.plan.keys // _PARTS, site)


def _restart(site: Site) -> Values:
    """A follower ends in peace and starts again, until it answers a linearizable read."""
    cluster = site.cluster
    index = cluster.followers()[0]
    cluster.stop(index)
    began = time.perf_counter()
    cluster.launch(index)
    answered = _first_answer(cluster.endpoints[index], began + _PATIENCE)
    yield "restart", (answered - began) * 1000


def _first_answer(endpoint: str, deadline: float) -> float:
    """When a member answered its first linearizable read, by perf_counter."""
    request = RangeRequest(key=b"health").SerializeToString()
    while time.perf_counter() < deadline:
        try:
            single = Single(endpoint)
        except (OSError, RuntimeError):
            time.sleep(_POLL)
            continue
        try:
            single.call(RANGE, request, timeout=5.0)
            return time.perf_counter()
        except (OSError, RuntimeError):
            time.sleep(_POLL)
        finally:
            single.close()
    raise TimeoutError(f"{endpoint} did not come back")


MANY_KEYS = (
    Probe("memory while keys come in", ("rss", "rss-anon", "range-1000", "count", "range-all", "restart"), _memory),
    Probe("Range with limit 1,000", ("range-1000",), _first_thousand),
    Probe("count", ("count",), _count),
    Probe("Range of a fifth", ("range-all",), _fifth),
    Probe("restart of a member", ("restart",), _restart),
)
