"""Rows of long work: what compaction, a snapshot and defragmentation of a million revisions do to everybody else.

Two looks at it: our own metric, how late the event loop came to its timers; and, of both stores, the longest that
serializable gets waited, which go out one after the other. The first sees only what stood in the way of a timer, the
second also what the machine's other processes cost.
"""

from __future__ import annotations

import http.client
import itertools
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kvstore.pb.etcd_pb2 import CompactionRequest, DefragmentRequest, RangeRequest, SnapshotRequest
from support.bench.load.calls import Single, spread
from support.bench.load.link import drive
from support.bench.probes.filling import fill
from support.bench.probes.site import KEY, RANGE, Probe, Site, Values

_ROUNDS = 10
_COMPACT, _DEFRAG = "/etcdserverpb.KV/Compact", "/etcdserverpb.Maintenance/Defragment"
_SNAPSHOT = "/etcdserverpb.Maintenance/Snapshot"
_GETS = 400_000
_PATIENCE = 300.0
# How often the two threads of this process take turns: the default of 5 ms would be seen in what is measured.
_SWITCH = 0.0002
# Its timers come twice a second: what the work left behind is seen by the next one.
_AFTERWARDS = 0.6


def _fill(site: Site) -> Values:
    """A tenth of them are keys, each of which is written ten times."""
    site.put_one()
    for _ in range(_ROUNDS):
        fill(site.leader, b"/held/", site.plan.revisions // _ROUNDS)
    yield from ()


def _snapshot(single: Single, site: Site) -> None:
    single.keep = False
    single.raw(_SNAPSHOT, SnapshotRequest().SerializeToString(), _PATIENCE)


def _compaction(single: Single, site: Site) -> None:
    request = CompactionRequest(revision=site.revision(), physical=True)
    single.call(_COMPACT, request.SerializeToString(), _PATIENCE)


def _defragmentation(single: Single, site: Site) -> None:
    single.call(_DEFRAG, DefragmentRequest().SerializeToString(), _PATIENCE)


def _during(name: str, work: Callable[[Single, Site], None], site: Site) -> Values:
    endpoint = site.leader
    before = _lag(endpoint)
    with _short_turns():
        took, longest = _longest_get(endpoint, lambda single: work(single, site))
    yield f"took-{name}", took * 1000
    yield f"wait-{name}", longest * 1000
    if before:
        yield f"hold-{name}", _latest(before, _lag(endpoint)) * 1000


def _longest_get(endpoint: str, work: Callable[[Single], None]) -> tuple[float, float]:
    """(seconds that the work took, seconds that a get took at most meanwhile)."""
    single = Single(endpoint)
    thread = _Work(single, work)
    get = RangeRequest(key=KEY, serializable=True).SerializeToString()
    (caller,) = spread(endpoint, itertools.repeat((RANGE, get)), _GETS, 1, 1)
    try:
        thread.start()
        drive([caller], lambda: thread.ended > 0)
    finally:
        caller.close()
        thread.join()
        single.close()
    if thread.problem is not None:
        raise RuntimeError(f"{endpoint}: {thread.problem}") from thread.problem
    return thread.ended - thread.began, max(caller.took)


class _Work(threading.Thread):
    """The long call, beside the gets. ended: perf_counter, and when its traces are in the metric, too."""

    def __init__(self, single: Single, work: Callable[[Single], None]) -> None:
        super().__init__(daemon=True)
        self.began = self.ended = 0.0
        self.problem: Exception | None = None
        self._single, self._work = single, work

    def run(self) -> None:
        self.began = time.perf_counter()
        try:
            self._work(self._single)
        except (RuntimeError, OSError) as problem:
            self.problem = problem
        ended = time.perf_counter()
        time.sleep(_AFTERWARDS)
        self.ended = ended


@contextmanager
def _short_turns() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _lag(endpoint: str) -> dict[float, float]:
    """How often the event loop was at most so late (bound in seconds → count); empty for a store without the metric."""
    host, _, port = endpoint.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    found = re.findall(r'fluyt_loop_lag_seconds_bucket\{le="([^"]+)"\} ([0-9.e+]+)', text)
    return {float(bound): float(count) for bound, count in found}


def _latest(before: dict[float, float], after: dict[float, float]) -> float:
    """The smallest bound that holds for all timers between two looks, in seconds."""
    total = after[float("inf")] - before[float("inf")]
    return next(bound for bound in sorted(after) if after[bound] - before[bound] == total)


def _rows(name: str) -> tuple[str, ...]:
    return (f"hold-{name}", f"wait-{name}", f"took-{name}")


_KINDS: tuple[tuple[str, str, Callable[[Single, Site], None]], ...] = (
    ("snapshot", "a snapshot", _snapshot),
    ("compaction", "compaction", _compaction),
    ("defrag", "defragmentation", _defragmentation),
)


def _probe(name: str, title: str, work: Callable[[Single, Site], None]) -> Probe:
    return Probe(title, _rows(name), lambda site: _during(name, work, site))


HOLDS = (
    Probe("writing revisions", tuple(row for name, _, _ in _KINDS for row in _rows(name)), _fill),
    *(_probe(*kind) for kind in _KINDS),
)
