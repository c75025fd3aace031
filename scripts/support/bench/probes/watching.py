"""Rows of watches: how many events a second reach many watchers, and how soon one reaches one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

from kvstore.pb.etcd_pb2 import PutRequest
from support.bench.load.calls import Caller, Single, spread
from support.bench.load.link import Link, drive
from support.bench.load.streams import Watches
from support.bench.probes.site import PUT, VALUE, Probe, Site, Values

_PREFIX = b"/watched/"
# Between two puts to an idle store, in seconds.
_IDLE = 0.02
# Without an event for so long, the one that is waited for was missed.
_SILENCE = 3.0


def _fan_out(connections: int, watchers: int, site: Site) -> Values:
    """Puts, 100 in flight, until every watcher has seen the last of them."""
    endpoint = site.leader
    watches = [Watches(endpoint, _PREFIX, watchers) for _ in range(connections)]
    # A put costs the store next to nothing beside a thousand events, and much beside a hundred.
    count = site.plan.watch_puts * (1 if watchers > 1 else 2)
    puts = (
        (PUT, PutRequest(key=b"%s%05d" % (_PREFIX, n % 1000), value=VALUE).SerializeToString()) for n in range(count)
    )
    callers = spread(endpoint, puts, count, 10, 10)
    single = Single(endpoint)
    try:
        for watch in watches:
            watch.expect(b"~end")
        took = _until_all_have_seen(watches, callers, single)
    finally:
        for link in (*watches, *callers, single):
            link.close()
    sent = sum(len(caller.ends) for caller in callers)
    yield f"watch-{connections}x{watchers}", sent * connections * watchers / took


def _until_all_have_seen(watches: Sequence[Watches], callers: Sequence[Caller], single: Single) -> float:
    """Seconds from the first put until the last event has come; TimeoutError when it does not come."""
    links: list[Link] = [*watches, *callers]
    began = time.perf_counter()
    drive(links, lambda: all(caller.done for caller in callers))
    _put_end(single)
    try:
        drive(watches, silence=_SILENCE)
    except TimeoutError:
        # A mark was cut in two by a frame head, or events are missing: another one tells.
        came = max(watch.last for watch in watches)
        _put_end(single)
        drive(watches, silence=_SILENCE)
        return came - began
    return max(watch.last for watch in watches) - began


def _put_end(single: Single) -> None:
    single.call(PUT, PutRequest(key=_PREFIX + b"~end").SerializeToString())


def _latency(site: Site) -> Values:
    """One put at a time to an idle store, one watcher on a connection of its own."""
    endpoint = site.leader
    watch, single = Watches(endpoint, _PREFIX, 1), Single(endpoint)
    request = PutRequest(key=_PREFIX + b"one", value=VALUE).SerializeToString()
    try:
        for number in range(site.plan.latencies + 5):
            time.sleep(_IDLE)
            watch.expect_one()
            single.begin(PUT, request)
            began = time.perf_counter()
            drive([watch])
            took = time.perf_counter() - began
            drive([single])
            if number >= 5:  # the first ones warm it up
                yield "watch", took * 1000
    finally:
        watch.close()
        single.close()


WATCHING = (
    *(Probe(f"events to {c} x {w}", (f"watch-{c}x{w}",), partial(_fan_out, c, w)) for c, w in ((10, 100), (100, 1))),
    Probe("latency of a watch", ("watch-p50", "watch-p99"), _latency),
)
