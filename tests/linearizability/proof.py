"""The end of a run with traffic: everything that can be said about the history is checked, on every member.

A failure leaves the picture of the history behind and names its file.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import grpc
from harness.binaries import Kind
from harness.cluster import Cluster
from harness.stubs import Stub

from kvstore.pb import etcd_pb2 as pb
from linearizability.checker import Verdict, check
from linearizability.messages import decode, encode, event
from linearizability.operations import PENDING, Operation, put
from linearizability.picture import render
from linearizability.serial import Event, Stored, check_serial, resolve
from linearizability.traffic import Traffic
from linearizability.watching import check_watcher, resumed

# For the search by keys; what it cannot decide by then counts as a failure.
SEARCH_SECONDS = 30.0
# Promises of a watch that a store breaks now and then: in etcd before 3.5.8 and 3.4.25 a progress report that was asked
# for may overtake events (its issue 15220).
EXCUSED: dict[Kind, tuple[str, ...]] = {"etcd-3.5": ("bookmarked",), "etcd-3.4": ("bookmarked",)}


@dataclass(frozen=True)
class Proved:
    """What was checked: calls with an answer and the writes among them, calls of unknown outcome, refused calls,
    revisions, the events of all watchers and their connections. outage: the longest time without an acknowledged
    write, in seconds.
    """

    answered: int
    acknowledged: int
    unknown: int
    refused: int
    revisions: int
    events: int
    watches: int
    outage: float


def prove(traffic: Traffic, cluster: Cluster) -> Proved:
    """Hold a stopped traffic's history against its cluster, whose members must all be healthy.

    Raises AssertionError with the first problems of each kind.
    """
    outage = traffic.outage()
    try:
        last = _mark_the_end(traffic, cluster)
        traffic.wait_watched(last)
    finally:
        traffic.close()
    running = [i for i, member in enumerate(cluster.members) if member.running]
    histories = [read_stored(cluster.stub(i), traffic.prefix, traffic.end, last) for i in running]
    stored = histories[0]
    problems = [f"member {i} has another history" for i, h in zip(running, histories, strict=True) if h != stored]
    problems += _of_the_history(traffic, stored, cluster)
    problems += _of_the_watches(traffic, stored, last, cluster.kind)
    problems += _of_the_hashes(cluster, running, last)
    assert not problems, _report(problems)
    return Proved(
        answered=sum(o.response is not None for o in traffic.history),
        acknowledged=traffic.acknowledged,
        unknown=sum(o.response is None for o in traffic.history),
        refused=len(traffic.refused),
        revisions=len(stored),
        events=sum(len(life.seen) for each in traffic.watches for life in each.lives),
        watches=sum(len(each.lives) for each in traffic.watches),
        outage=outage,
    )


def _report(problems: list[str]) -> str:
    return f"{len(problems)} problems:\n" + "\n".join(problems[:12])


def _mark_the_end(traffic: Traffic, cluster: Cluster) -> int:
    """One more write, tried until it is acknowledged, as part of the history; its revision."""
    running = [i for i, member in enumerate(cluster.members) if member.running]
    deadline = time.monotonic() + 20
    for attempt in itertools.cycle(range(10_000)):
        request = put(traffic.prefix + b"~end", b"end %d" % attempt)
        rpc, message = encode(request)
        start = time.monotonic()
        try:
            answer = getattr(cluster.stub(running[attempt % len(running)]), rpc)(message, timeout=5)
        except grpc.RpcError:
            traffic.history.append(Operation(0, start, PENDING, request))
            if time.monotonic() > deadline:
                raise
            continue
        response, revision = decode(answer)
        traffic.history.append(Operation(0, start, time.monotonic(), request, response, revision))
        return revision
    raise AssertionError("unreachable: the loop has no end")


def read_stored(stub: Stub, start: bytes, end: bytes, last: int) -> dict[int, list[Event]]:
    """A member's history of [start, end) up to revision `last`, which is in it, by a watch from revision 1 on."""
    create = pb.WatchCreateRequest(key=start, range_end=end, start_revision=1)
    call = stub.Watch(iter([pb.WatchRequest(create_request=create)]), timeout=30)
    found: dict[int, list[Event]] = {}
    for response in call:
        assert not response.canceled, f"the history cannot be read: {response}"
        for each in response.events:
            found.setdefault(each.kv.mod_revision, []).append(event(each))
        if last in found:
            break
    call.cancel()
    return found


def _of_the_history(traffic: Traffic, stored: Stored, cluster: Cluster) -> list[str]:
    problems = check_serial(traffic.history, stored)
    result = check(resolve(traffic.history, stored), time.monotonic, SEARCH_SECONDS)
    if result.verdict is not Verdict.LINEARIZABLE:
        folder = Path(tempfile.mkdtemp(prefix="fluyt-history-"))
        page = folder / "history.html"
        page.write_text(render(result, f"{cluster.kind}, {len(cluster.members)} members"))
        problems.append(f"{result.verdict.value}: {[part.keys for part in result.bad]}, drawn in {page}")
    return problems


def _of_the_watches(traffic: Traffic, stored: Stored, last: int, kind: Kind) -> list[str]:
    problems = []
    for each in traffic.watches:
        problems += each.refusals
        for number, life in enumerate(each.lives):
            life.until = last if number == len(each.lives) - 1 else 0
            problems += check_watcher(life, stored, EXCUSED.get(kind, ()))
        problems += resumed(each.lives)
    return problems


def _of_the_hashes(cluster: Cluster, running: list[int], last: int) -> list[str]:
    """HashKV of every member at one revision."""
    request = pb.HashKVRequest(revision=last)
    hashes = {i: cluster.stub(i).HashKV(request, timeout=10).hash for i in running}
    return [] if len(set(hashes.values())) == 1 else [f"the members' hashes differ: {hashes}"]
