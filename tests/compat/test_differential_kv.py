"""The same random calls to a real etcd 3.5.1 and to the server under test must give the same answers.

A failure prints its seed; FLUYT_SEED=<seed> runs it again. FLUYT_DIFF_CALLS sets how many calls a run makes.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest
from google.protobuf.message import Message
from harness.answers import ask, revision_of
from harness.binaries import subject
from harness.cluster import Cluster
from harness.random_requests import RequestSource
from harness.require import require

from kvstore.pb import etcd_pb2 as pb

CALLS = int(os.environ.get("FLUYT_DIFF_CALLS", "600"))
# One from a fresh seed each time; more of them in scripts/soak.
RUNS = [0, *(pytest.param(run, marks=pytest.mark.soak) for run in (1, 2, 3))]
Pair = tuple[Cluster, Cluster]

# Calls that etcd answers, at least sometimes (a transaction without operations), from what one member has applied so
# far; every member must have applied what was acknowledged before they can be compared.
_LOCAL = {"LeaseLeases", "LeaseTimeToLive", "Txn"}


def start_pair(members: int) -> Iterator[Pair]:
    """The oracle and the subject, side by side."""
    require("etcd-3.5")
    require(subject())
    with Cluster("etcd-3.5", members) as oracle, Cluster(subject(), members) as ours:
        yield oracle, ours


def run_both(pair: Pair, source: RequestSource, calls: int, seed: int) -> None:
    """Send `calls` random requests to both and compare each answer."""
    oracle, ours = pair
    history: list[str] = []
    for number in range(calls):
        rpc, request = source.draw()
        member = source.rng.randrange(len(oracle.members))
        if rpc in _LOCAL and len(oracle.members) > 1:
            catch_up(pair)
        expected = ask(oracle.stub(member), rpc, request)
        got = ask(ours.stub(member), rpc, request)
        history.append(f"{number}: m{member + 1} {rpc} {_short(request)} → {revision_of(expected) or expected}")
        assert got == expected, "\n".join([f"seed {seed}, the last calls:", *history[-12:]])
        note(source, rpc, request, revision_of(expected))


def catch_up(pair: Pair) -> None:
    """After this every member of both has applied all that was acknowledged."""
    for cluster in pair:
        for index in range(len(cluster.members)):
            ask(cluster.stub(index), "Range", pb.RangeRequest(key=b"a"))


def note(source: RequestSource, rpc: str, request: Message, revision: int) -> None:
    """Keep the generator's idea of the servers' state up to date."""
    if not revision:
        return
    source.world.revision = max(source.world.revision, revision)
    if isinstance(request, pb.CompactionRequest):
        source.world.compacted = request.revision


def _short(request: Message) -> str:
    return " ".join(str(request).split())


def compare_states(pair: Pair, source: RequestSource) -> None:
    """Compare everything that is stored, now and at readable revisions of the past."""
    oracle, ours = pair
    world = source.world
    for revision in [0, *range(max(1, world.compacted), world.revision + 1, 1 + world.revision // 60)]:
        request = pb.RangeRequest(key=b"\0", range_end=b"\0", revision=revision)
        assert ask(ours.stub(), "Range", request) == ask(oracle.stub(), "Range", request), f"at revision {revision}"


@pytest.fixture
def single() -> Iterator[Pair]:
    """One member on each side."""
    yield from start_pair(1)


@pytest.fixture
def triple() -> Iterator[Pair]:
    """Three members on each side."""
    yield from start_pair(3)


@pytest.mark.parametrize("run", RUNS)
def test_one_member_answers_as_etcd(single: Pair, seed: int, run: int) -> None:
    """Every option of every call, serializable reads included."""
    source = RequestSource(random.Random(seed + run))
    run_both(single, source, CALLS, seed + run)
    compare_states(single, source)


@pytest.mark.parametrize("run", RUNS)
def test_three_members_answer_as_etcd(triple: Pair, seed: int, run: int) -> None:
    """Each call to a member drawn at random, followers included."""
    source = RequestSource(random.Random(seed + run), linearizable_only=True)
    run_both(triple, source, CALLS // 2, seed + run)
    compare_states(triple, source)
