"""Real etcdctl, 3.4 and 3.5, prints the same against us as against a real etcd 3.5.1: outputs, errors, exit codes.

What belongs to one cluster (ids, endpoints, sizes, terms, hashes, times) is replaced by names before comparing.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from etcdctl_sessions import OF_THE_CLUSTER, SESSIONS
from harness.answers import ask
from harness.binaries import subject
from harness.calls import delete, put
from harness.cluster import Cluster
from harness.etcdctl import VERSIONS, Outcome, Version, etcdctl, etcdctl_background
from harness.require import require
from harness.wait import wait_until

from kvstore.pb import etcd_pb2 as pb


class Console:
    """etcdctl of one version at one cluster, with names for what differs between clusters."""

    def __init__(self, cluster: Cluster, version: Version) -> None:
        self.cluster = cluster
        self.version: Version = version
        members = cluster.stub().MemberList(pb.MemberListRequest(), timeout=5)
        ids = {m.name: m.ID for m in members.members}
        self.member_ids = [ids[m.name] for m in cluster.members]
        self.cluster_id = members.header.cluster_id
        self.base = self._clean()
        self.leases: list[int] = []

    def _clean(self) -> int:
        stub = self.cluster.stub()
        for lease in stub.LeaseLeases(pb.LeaseLeasesRequest(), timeout=5).leases:
            ask(stub, "LeaseRevoke", pb.LeaseRevokeRequest(ID=lease.ID))
        ask(stub, *put(b"base"))
        return int(ask(stub, *delete(b"\0", b"\0"))["header"]["revision"])

    def run(self, words: str, stdin: str = "") -> Outcome:
        """Run one command line."""
        arguments = [self._fill(word) for word in shlex.split(words)]
        # etcdctl asks one of several endpoints at random, and the answer's header says which.
        everyone = words.startswith(("endpoint", "member", "defrag"))
        endpoints = self.cluster.endpoints if everyone else self.cluster.endpoints[:1]
        outcome = etcdctl(self.version, *arguments, endpoints=endpoints, stdin=stdin)
        granted = re.findall(r"lease ([0-9a-f]+) granted|\"ID\" : (\d+)", outcome.stdout)
        self.leases += [int(h, 16) if h else int(d) for h, d in granted if (h or d) and words.startswith("lease grant")]
        return outcome

    def _fill(self, word: str) -> str:
        word = re.sub(r"\{revision(?:\+(\d+))?\}", lambda m: str(self.base + int(m[1] or 0)), word)
        return re.sub(r"\{lease(\d)\}", lambda m: f"{self.leases[int(m[1])]:x}", word)

    def plain(self, text: str) -> list[str]:
        """The text with this cluster's own numbers replaced, line by line."""
        names = {self.cluster_id: "CLUSTER"}
        names |= {m: f"MEMBER{i}" for i, m in enumerate(self.member_ids)}
        names |= {lease: f"LEASE{i}" for i, lease in enumerate(self.leases)}
        for number, name in names.items():
            text = re.sub(rf"\b(0*{number:x}|{number})\b", name, text)
        for i, member in enumerate(self.cluster.members):
            text = text.replace(member.endpoint, f"ENDPOINT{i}").replace(
                f"{member.host}:{member.peer_port}", f"PEER{i}"
            )
        return [self._numbers(line) for line in text.splitlines()]

    def _numbers(self, line: str) -> str:
        for pattern, replacement in _VARYING:
            line = re.sub(pattern, replacement, line)
        return re.sub(r"\b\d+\b", self._revision, line)

    def _revision(self, match: re.Match[str]) -> str:
        """Numbers near the base are revisions: counted from there."""
        number = int(match[0])
        return f"R+{number - self.base}" if self.base > 100 and 0 <= number - self.base < 60 else match[0]


# Patterns of what differs by chance.
_VARYING = [
    (r"took = [\d.µnms]+", "took = TIME"),
    (r'"took":"[^"]+"', '"took":"TIME"'),
    (r"\b[\d.]+(ns|µs|ms|s)\b", "TIME"),
    (r"remaining\(\d+s\)", "remaining(N)"),
    (r'"(raft_term|raftTerm|raftIndex|raftAppliedIndex|dbSize|dbSizeInUse|hash|ttl)":\d+', r'"\1":N'),
    (r'"(RaftTerm|RaftIndex|RaftAppliedIndex|DBSize|DBSizeInUse|Hash|TTL)" : \d+', r'"\1" : N'),
    (r'"version":"[\d.]+"|"Version" : "[\d.]+"', "VERSION"),
    (r'"ts":"[^"]+"|"caller":"[^"]+"|"target":"[^"]+"', ""),
    # Go writes the address of the object in hexadecimal.
    (r"0xc[0-9a-f]{6,}", "POINTER"),
]


# Number of members and etcdctl's version, for the tests whose subject is not the output.
SETTINGS = [pytest.param(1, "3.4", id="1-3.4"), pytest.param(3, "3.5", id="3-3.5")]
each_setting = pytest.mark.parametrize(("pair", "version"), SETTINGS, indirect=["pair"])


Pair = tuple[Cluster, Cluster]


@pytest.fixture(scope="module")
def pairs() -> Iterator[Callable[[int], Pair]]:
    """Makes the oracle and the subject with so many members, once; revisions are far enough on to be told apart."""
    require("etcd-3.5")
    require(subject())
    with ExitStack() as stack:

        @cache
        def make(members: int) -> Pair:
            oracle = stack.enter_context(Cluster("etcd-3.5", members))
            ours = stack.enter_context(Cluster(subject(), members))
            for cluster in (oracle, ours):
                for number in range(120):
                    ask(cluster.stub(), *put(b"warm-up", b"%d" % number))
            return oracle, ours

        yield make


@pytest.fixture
def pair(request: pytest.FixtureRequest, pairs: Callable[[int], Pair]) -> Pair:
    """The pair with as many members as the parameter says."""
    return pairs(request.param)


# In a status: sizes (that of a small database may look like a revision), indexes, terms, who leads, versions.
_STATUS_FIGURES = (
    r"(?:R\+)?[\d.]+ ?[kMG]?i?B|true|false|\b\d+\b|R\+\d+|\+-[-+]*|VERSION|LEADER|3\.\d+\.\d+|\"[Ll]eader\" ?: ?\w+| +"
)


def _listed(line: str) -> list[str]:
    """The objects of a list in JSON, what stands before the first one apart: which member that is depends on its id."""
    return line.replace('"members":[', '"members":\n').replace("},{", "}\n{").splitlines()


def _items(lines: list[str]) -> list[str]:
    """One item a line, in one order: members answer in any."""
    return sorted(item.strip("[]{}") for line in lines for item in _listed(line))


def shape(words: str, lines: list[str]) -> list[str]:
    """What counts of an output. Of status and hash lines: everything but sizes, terms, versions and who leads."""
    if words.startswith("member list"):
        # Any of the members may have answered.
        lines = [re.sub(r'"member_id":MEMBER\d|"MemberID" : MEMBER\d', "", line) for line in lines]
    if words.startswith("endpoint status"):
        return _items([re.sub(_STATUS_FIGURES, "", line) for line in lines])
    if words.startswith("endpoint hashkv"):
        return _items([re.sub(r", \d+$|\"hash\":\d+", "", line) for line in lines])
    if words.startswith(("lease list", "endpoint health", "member list", "defrag")):
        return _items([re.sub(r"[-+]{3,}| +", "", line) for line in lines])
    if "table" in words:
        return [re.sub(r"[-+]{3,}| +", "", line) for line in lines]
    if words.startswith("lock"):
        # The owner key of a lock holds its lease's id.
        return [re.sub(r"room/[0-9a-f]+", "room/ID", line) for line in lines]
    if "-w protobuf" in words:
        return [str(len(lines) > 0)]
    return lines


@pytest.mark.parametrize(
    ("pair", "version", "name"),
    # The server sees the same from both versions: each session by one of them, by the other in scripts/soak.
    [
        pytest.param(1, version, name, marks=[pytest.mark.soak] if (turn + place) % 2 else [])
        for turn, version in enumerate(VERSIONS)
        for place, name in enumerate(SESSIONS)
    ]
    + [(3, "3.5", name) for name in OF_THE_CLUSTER],
    indirect=["pair"],
)
def test_session(pair: Pair, version: Version, name: str) -> None:
    """Each command: the same exit code, the same standard output, the same error."""
    consoles = [Console(cluster, version) for cluster in pair]
    for command in SESSIONS[name]:
        words, stdin = command if isinstance(command, tuple) else (command, "")
        expected, got = (console.run(words, stdin) for console in consoles)
        for stream in ("stdout", "stderr"):
            texts = [
                shape(words, console.plain(getattr(outcome, stream)))
                for console, outcome in zip(consoles, (expected, got), strict=True)
            ]
            assert texts[1] == texts[0], f"{stream} of etcdctl {words}"
        assert got.code == expected.code, f"exit code of etcdctl {words}: {got.stderr}"


@each_setting
@pytest.mark.parametrize(
    "words", ["watch w", "watch w --prefix --prev-kv", "watch w x -w json", "watch w --rev {start}"]
)
def test_watch_prints_what_it_prints_at_etcd(pair: Pair, version: Version, words: str, tmp_path: Path) -> None:
    """A watch in the background, a put, an overwrite and a delete; then the same lines."""
    printed: list[list[str]] = []
    for cluster in pair:
        console = Console(cluster, version)
        stub = cluster.stub()
        start = int(ask(stub, *put(b"w", b"0"))["header"]["revision"])
        log = tmp_path / f"watch-{cluster.kind}-{len(printed)}.log"
        arguments = [w.replace("{start}", str(start)) for w in words.split()]
        process = etcdctl_background(version, *arguments, endpoints=cluster.endpoints, log=log)
        probes = iter(range(1000))

        def probed(log: Path = log, stub: Any = stub, probes: Iterator[int] = probes) -> bool:
            # There is no sign that etcdctl's watch is up but an event.
            ask(stub, *put(b"w", b"probe%d" % next(probes)))
            return b"probe" in log.read_bytes() or b"cHJvYm" in log.read_bytes()

        wait_until(probed, f"etcdctl {words} to print an event", interval=0.1)
        for call in (put(b"w", b"one"), put(b"w", b"two"), delete(b"w"), put(b"w", b"last")):
            ask(stub, *call)
        wait_until(lambda log=log: re.search(rb"last|bGFzdA", log.read_bytes()), "the last event")  # type: ignore[misc]
        process.kill()
        text = log.read_text().split("\n", 1)[1]
        printed.append([line for line in console.plain(text) if "R+" not in line or "-w" not in words])
    ends = [_after_probes(lines) for lines in printed]
    assert ends[1] == ends[0]


def _after_probes(lines: list[str]) -> list[str]:
    """From the put of `one` on, which every watch sees whole."""
    start = next((i for i, line in enumerate(lines) if "one" in line or "b25l" in line), 0)
    return [re.sub(r"R\+\d+|probe\d+", "R", line) for line in lines[start:]]


def holder(cluster: Cluster, version: Version, log: Path, *words: str) -> Any:
    """etcdctl lock or elect in the background."""
    return etcdctl_background(version, *words, endpoints=cluster.endpoints, log=log)


@each_setting
def test_a_lock_has_one_holder(pair: Pair, version: Version, tmp_path: Path) -> None:
    """The second waits until the first is gone; killed holders are released by their lease."""
    cluster = pair[1]
    Console(cluster, version)
    logs = [tmp_path / "first.log", tmp_path / "second.log"]
    first = holder(cluster, version, logs[0], "lock", "room", "--ttl=2")
    wait_until(lambda: "room/" in logs[0].read_text(), "the first to hold the lock")
    second = holder(cluster, version, logs[1], "lock", "room", "--ttl=2")
    waiting: Callable[[], bool] = lambda: _keys(cluster, b"room/") == 2  # noqa: E731
    wait_until(waiting, "the second to wait")
    assert "room/" not in logs[1].read_text()
    first.kill()
    wait_until(lambda: "room/" in logs[1].read_text(), "the second to get the lock after the lease ran out")
    assert second.stop() == 0
    wait_until(lambda: _keys(cluster, b"room/") == 0, "the lock to be released")


@each_setting
def test_an_election_has_one_leader(pair: Pair, version: Version, tmp_path: Path) -> None:
    """A listener sees the leader's proposal, then the next one's."""
    cluster = pair[1]
    Console(cluster, version)
    logs = [tmp_path / name for name in ("first.log", "second.log", "listener.log")]
    first = holder(cluster, version, logs[0], "elect", "office", "alice")
    wait_until(lambda: "alice" in logs[0].read_text().split("\n", 1)[1], "alice to lead")
    second = holder(cluster, version, logs[1], "elect", "office", "bob")
    listener = holder(cluster, version, logs[2], "elect", "-l", "office")
    wait_until(lambda: "alice" in logs[2].read_text().split("\n", 1)[1], "the listener to see alice")
    first.stop()
    wait_until(lambda: "bob" in logs[2].read_text(), "the listener to see bob")
    wait_until(lambda: "bob" in logs[1].read_text().split("\n", 1)[1], "bob to lead")
    second.stop()
    listener.stop()


def _keys(cluster: Cluster, prefix: bytes) -> int:
    request = pb.RangeRequest(key=prefix, range_end=prefix[:-1] + bytes([prefix[-1] + 1]), count_only=True)
    return int(cluster.stub().Range(request, timeout=5).count)


@each_setting
def test_snapshot_save(pair: Pair, version: Version, tmp_path: Path) -> None:
    """The file arrives whole: etcdctl checks the digest at its end."""
    path = tmp_path / "snapshot"
    ask(pair[1].stub(), *put(b"snapshot", b"x" * 100_000))
    outcome = etcdctl(version, "snapshot", "save", str(path), endpoints=pair[1].endpoints[:1])
    assert outcome.code == 0, outcome.stderr
    assert f"Snapshot saved at {path}" in outcome.stdout
    assert path.stat().st_size > 100_000


@each_setting
def test_move_leader(pair: Pair, version: Version) -> None:
    """The named member leads afterwards; asked of a follower it is refused, as etcd refuses it."""
    cluster = pair[1]
    if len(cluster.members) == 1:
        outcome = etcdctl(version, "move-leader", "8e9e05c52164694d", endpoints=cluster.endpoints)
        assert outcome.code != 0
        return
    old = cluster.leader()
    target = (old + 1) % 3
    status = cluster.status(target)
    assert status is not None
    outcome = etcdctl(version, "move-leader", f"{status.header.member_id:x}", endpoints=cluster.endpoints)
    assert outcome.code == 0, outcome.stderr
    assert "Leadership transferred from" in outcome.stdout
    wait_until(lambda: cluster.leader() == target, "the named member to lead")
    follower = [cluster.endpoints[i] for i in range(3) if i != target][:1]
    refused = etcdctl(version, "move-leader", f"{status.header.member_id:x}", endpoints=follower)
    assert refused.code != 0
    assert "no leader endpoint given" in refused.stderr


@pytest.mark.soak
@pytest.mark.parametrize("pair", [3], indirect=True)
def test_check_perf(pair: Pair) -> None:
    """The smallest load runs to its end against a cluster of three and finds throughput and latency in order."""
    cluster = pair[1]
    outcome = etcdctl("3.5", "check", "perf", "--load=s", endpoints=cluster.endpoints, timeout=110)
    assert "PASS: Throughput is" in outcome.stdout, outcome.stdout + outcome.stderr
    assert _keys(cluster, b"/etcdctl-check-perf/") == 0
