"""`member add|list|update|promote|remove` by etcdctl 3.4 and 3.5 and by fluyt: the same outputs, errors and exit codes
against us as against a real etcd 3.5.1.

Ids and ports are replaced by names in the order in which they came to be.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from harness.binaries import subject
from harness.cluster import Cluster
from harness.etcdctl import Outcome, etcdctl
from harness.fluyt_here import fluyt_here
from harness.membership import PATIENCE
from harness.ports import free_port
from harness.require import require
from harness.wait import wait_until

from kvstore.pb import etcd_pb2 as pb

Pair = tuple[Cluster, Cluster]
Tool = Callable[[Cluster, str], Outcome]


def by_fluyt(cluster: Cluster, words: str) -> Outcome:
    return fluyt_here(f"--endpoints={cluster.endpoints[0]}", *shlex.split(words))


def by_34(cluster: Cluster, words: str) -> Outcome:
    return etcdctl("3.4", *shlex.split(words), endpoints=cluster.endpoints[:1])


def by_35(cluster: Cluster, words: str) -> Outcome:
    return etcdctl("3.5", *shlex.split(words), endpoints=cluster.endpoints[:1])


@pytest.fixture
def pair() -> Iterator[Pair]:
    require("etcd-3.5")
    require(subject())
    with ExitStack() as stack:
        oracle = stack.enter_context(Cluster("etcd-3.5", 1))
        yield oracle, stack.enter_context(Cluster(subject(), 1))


class Session:
    """A tool at one cluster."""

    def __init__(self, cluster: Cluster, tool: Tool) -> None:
        self.cluster = cluster
        self.tool = tool
        self.ids: list[int] = []
        self.ports: list[int] = [cluster.members[0].peer_port, cluster.members[0].client_port]
        self.said: list[tuple[str, int, list[str], list[str]]] = []
        self._learn()

    def _learn(self) -> pb.MemberListResponse:
        answer = self.cluster.stub().MemberList(pb.MemberListRequest(), timeout=5)
        self.ids += [m.ID for m in answer.members if m.ID not in self.ids]
        self.cluster_id = answer.header.cluster_id
        return answer

    def port(self) -> int:
        self.ports.append(free_port())
        return self.ports[-1]

    def run(self, words: str, too_early: str = "unhealthy cluster") -> None:
        """Run a command, again while a server finds it too early or forgets it; note what it said."""
        last: list[Outcome] = []

        def attempt() -> bool:
            last[:] = [self.tool(self.cluster, words)]
            return not re.search(f"{too_early}|deadline exceeded|timed out|no answer in", last[0].stderr)

        # Each attempt is a program's start; a server that finds it too early does so for seconds.
        wait_until(attempt, f"{words} to be taken", PATIENCE, interval=0.5)
        self._learn()
        outcome = last[0]
        self.said.append((self.plain(words)[0], outcome.code, self.plain(outcome.stdout), self.plain(outcome.stderr)))

    def plain(self, text: str) -> list[str]:
        for position, identity in enumerate(self.ids):
            text = re.sub(rf"\b(0*{identity:x}|{identity})\b", f"ID{position}", text)
        text = re.sub(rf"\b(0*{self.cluster_id:x}|{self.cluster_id})\b", "CLUSTER", text)
        for position, port in enumerate(self.ports):
            text = text.replace(f":{port}", f":PORT{position}")
        text = re.sub(r'"ts":"[^"]+"|"target":"[^"]+"|"caller":"[^"]+"', "", text)
        text = re.sub(r'"raft_term":\d+|"RaftTerm" : \d+', "TERM", text)
        # Members are in order of their ids, which differ: so are lines, and objects in JSON.
        words = [re.sub(r" +", " ", line) for line in text.splitlines()]
        if '"members":[' in text:
            return sorted(re.split(r"[{}\[\],]+", text.strip()))
        words = [re.sub(r'=(".*,.*")$', lambda m: "=" + ",".join(sorted(m[1].strip('"').split(","))), w) for w in words]
        return sorted(re.sub(r"[+-]{3,}", "---", w) for w in words)


def first_steps(session: Session) -> None:
    """A learner that never starts: added, looked at in every format, moved, not promoted, removed twice."""
    one, two = session.port(), session.port()
    session.run(f"member add m2 --peer-urls=http://127.0.0.1:{one} --learner")
    learner = session.ids[-1]
    for form in ("simple", "table", "json", "fields"):
        session.run(f"member list -w {form}")
    session.run(f"member promote {learner:x}")
    session.run(f"member add m3 --peer-urls=http://127.0.0.1:{two} --learner")
    session.run(f"member add m3 --peer-urls=http://127.0.0.1:{one},http://127.0.0.1:{two}")
    session.run(f"member update {learner:x} --peer-urls=http://127.0.0.1:{two}")
    session.run(f"member update {session.ids[0]:x} --peer-urls=http://127.0.0.1:{two}")
    session.run(f"member remove {learner:x}")
    session.run(f"member remove {learner:x}")
    session.run(f"member remove {session.ids[0]:x}")
    session.run("member add m2 --peer-urls=nonsense")
    session.run("member promote 1234")
    for form in ("json", "fields", "table"):
        session.run(f"member add m2 --peer-urls=http://127.0.0.1:{session.port()} --learner -w {form}")
        session.run(f"member remove {session.ids[-1]:x} -w {form}")


def a_member_comes_to_stay(session: Session) -> None:
    """Added as a learner, started with what `member add` printed, promoted, moved."""
    cluster = session.cluster
    index = cluster.new_member()
    member = cluster.members[index]
    session.ports += [member.peer_port, member.client_port]
    words = f"member add {member.name} --peer-urls={member.peer_url} --learner"
    session.run(words)
    answer = cluster.stub().MemberList(pb.MemberListRequest(), timeout=5)
    names = {m.peerURLs[0]: m.name or member.name for m in answer.members}
    member.joins = ",".join(f"{name}={url}" for url, name in names.items())
    cluster.launch(index)

    def started() -> bool:
        return any(m.name == member.name for m in session._learn().members)

    wait_until(started, "the learner to say its name", PATIENCE)
    session.run("member list")
    # It may say its name before the leader has heard how far it has come.
    session.run(f"member promote {session.ids[-1]:x}", too_early="unhealthy cluster|in sync with leader")
    session.run("member list")
    session.run(f"member promote {session.ids[-1]:x}")


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("story", "tool"),
    [
        (first_steps, by_34),
        (first_steps, by_fluyt),
        (a_member_comes_to_stay, by_35),
        pytest.param(first_steps, by_35, marks=pytest.mark.soak),
        pytest.param(a_member_comes_to_stay, by_34, marks=pytest.mark.soak),
        pytest.param(a_member_comes_to_stay, by_fluyt, marks=pytest.mark.soak),
    ],
)
def test_the_same_is_said(pair: Pair, tool: Tool, story: Callable[[Session], None]) -> None:
    told = []
    for cluster in pair:
        session = Session(cluster, tool)
        story(session)
        told.append(session.said)
    for ours, theirs in zip(told[1], told[0], strict=True):
        assert ours == theirs


@pytest.mark.timeout(240)
@pytest.mark.soak
def test_fluyt_says_what_etcdctl_says(pair: Pair) -> None:
    """The same story at the same server; only the words of errors around the server's own may differ."""
    told = []
    for cluster, tool in ((pair[0], by_35), (pair[1], by_fluyt)):
        session = Session(cluster, tool)
        first_steps(session)
        told.append([(words, code, stdout) for words, code, stdout, _ in session.said])
    for ours, theirs in zip(told[1], told[0], strict=True):
        assert ours == theirs
