"""Rows of failures: how long no write succeeds when the leader is killed, and when it is cut off.

From the moment of the fault to the first acknowledgement of a put that was sent after it, at any survivor. A put goes
out every 10 ms: one that a member passed on to the dead leader is lost for seconds, the next is not.
"""

from __future__ import annotations

import itertools
import queue
import time
from collections.abc import Callable
from typing import Any

from harness.stubs import Stub
from harness.wait import wait_until

from kvstore.pb.etcd_pb2 import PutRequest
from support.bench import h2load
from support.bench.probes.site import KEY, PUT, VALUE, Probe, Site, Values

_INTERVAL = 0.01
_PATIENCE = 60.0
_PUT_REQUEST = PutRequest(key=KEY, value=VALUE)


def _kills(site: Site) -> Values:
    cluster = site.cluster
    for _ in range(site.plan.outages_a_run):
        leader = cluster.leader()
        _load(site)
        survivors = _warm(site, leader)
        yield "outage", _outage(survivors, lambda leader=leader: cluster.kill(leader)) * 1000  # type: ignore[misc]
        cluster.restart(leader)


def _cuts(site: Site) -> Values:
    """The leader hears nobody and nobody hears it; connections do not break, they fall silent."""
    cluster, network = site.cluster, site.network
    assert network is not None
    for _ in range(site.plan.cuts_a_run):
        leader = cluster.leader()
        _load(site)
        survivors = _warm(site, leader)
        others = [index for index in range(len(cluster.members)) if index != leader]
        yield "cut", _outage(survivors, lambda a=leader, b=others: network.split([a], b)) * 1000  # type: ignore[misc]
        network.heal()
        wait_until(lambda a=leader: cluster.healthy(a), "the old leader to be back", timeout=30)  # type: ignore[misc]


def _load(site: Site) -> None:
    """What is in flight when it happens is not idle."""
    h2load.run(site.leader, PUT, _PUT_REQUEST.SerializeToString(), 32, 0.3)


def _warm(site: Site, leader: int) -> list[Stub]:
    """Stubs of the others, connected."""
    stubs = [site.cluster.stub(index) for index in range(len(site.cluster.members)) if index != leader]
    for stub in stubs:
        stub.Put(_PUT_REQUEST, timeout=10)
    return stubs


def _outage(stubs: list[Stub], fault: Callable[[], None]) -> float:
    """Seconds from the fault on. RuntimeError if nothing was acknowledged within a minute."""
    began = time.monotonic()
    fault()
    acknowledged: queue.SimpleQueue[float] = queue.SimpleQueue()

    def done(call: Any) -> None:
        if call.exception() is None:
            acknowledged.put(time.monotonic())

    for stub in itertools.cycle(stubs):
        stub.Put.future(_PUT_REQUEST, timeout=10).add_done_callback(done)
        try:
            return acknowledged.get(timeout=_INTERVAL) - began
        except queue.Empty:
            if time.monotonic() - began > _PATIENCE:
                raise RuntimeError("no write succeeded within a minute of the fault") from None
    raise AssertionError("cycle does not end")


KILLS = (Probe("kill -9 of the leader", ("outage-p50", "outage-p99"), _kills),)
CUTS = (Probe("the leader cut off", ("cut-p50",), _cuts),)
