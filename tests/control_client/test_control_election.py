"""Election among real processes: clean stops, kills and pauses, on our store and on real etcds."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from harness.binaries import Kind
from harness.cluster import Cluster
from harness.ports import free_port
from harness.process import Process
from harness.require import require
from harness.wait import wait_until

from control.client import Elector, election
from control.client.election import TTL
from control.client.lifeline import Address, Lifeline, NoVerdict, wait_gone
from control.client.process_mark import is_gone, own_mark
from kvstore.client import Client, connect

Start = Callable[..., "Candidate"]
# Of leases whose end is not to be waited for, and what a crowded machine may take for anything else, in seconds.
LONG, CROWDED = 30, 15.0


@pytest.fixture(scope="session", params=["fluyt", "etcd-3.4"])
def election_store(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """One member that nobody stops."""
    kind = cast(Kind, request.param)
    require(kind)
    with Cluster(kind, members=1) as cluster:
        yield cluster


class Candidate:
    """A child process that runs election_candidate.py."""

    def __init__(self, cluster: Cluster, name: str, identity: str, folder: Path, ttl: int) -> None:
        self.log = folder / f"{identity}.log"
        script = str(Path(__file__).with_name("election_candidate.py"))
        self.process = Process(
            [sys.executable, script, ",".join(cluster.endpoints), name, identity, str(ttl)], self.log
        )

    def told(self, what: str) -> list[dict[str, Any]]:
        """What it said of that kind."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        said = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in said if line["what"] == what]

    def wait_connected(self, port: str) -> None:
        """Wait until it is connected to the leader's lifeline at that port."""
        wait_until(lambda: f"process at 127.0.0.1:{port}" in self.log.read_text(), "a lifeline", timeout=20)

    def wait(self, what: str, count: int = 1) -> dict[str, Any]:
        """The count-th saying of that kind, waited for."""
        wait_until(lambda: len(self.told(what)) >= count, f"{what} in {self.log.name}", timeout=20)
        return self.told(what)[count - 1]


@pytest.fixture
def start(election_store: Cluster, tmp_path: Path) -> Iterator[Start]:
    made: list[Candidate] = []

    def begin(name: str, identity: str, ttl: int = TTL) -> Candidate:
        made.append(Candidate(election_store, name, identity, tmp_path, ttl))
        return made[-1]

    yield begin
    for candidate in made:
        candidate.process.kill()


def role() -> str:
    return f"role-{os.urandom(6).hex()}"


def stand_by(cluster: Cluster, name: str, candidates: int) -> None:
    """Wait until so many stand in line."""
    with Client(cluster.endpoints) as client:
        wait_until(lambda: client.get_prefix(f"/fluyt/leaders/{name}/").count == candidates, "candidates", timeout=20)


def lifeline_port(cluster: Cluster, name: str, place: int = 0) -> str:
    """Where the lifeline of the leader, or of who is that far behind it, is, as the election says."""
    with Client(cluster.endpoints) as client:
        line = client.get_prefix(f"/fluyt/leaders/{name}/", sort_by="create").kvs
        return str(json.loads(line[place].value)["port"])


def test_a_clean_stop_and_a_kill_hand_over_at_once(election_store: Cluster, start: Start) -> None:
    name = role()
    one = start(name, "one", LONG)
    first = one.wait("elected")
    two, three = start(name, "two", LONG), start(name, "three", LONG)
    stand_by(election_store, name, 3)
    one.process.popen.terminate()
    wait_until(lambda: two.told("elected") or three.told("elected"), "a successor", timeout=20)
    leader, other = (two, three) if two.told("elected") else (three, two)
    second = leader.told("elected")[0]
    assert second["revision"] > first["revision"]
    assert second["at"] - one.wait("ended")["at"] < CROWDED
    other.wait_connected(lifeline_port(election_store, name))
    killed = time.monotonic()
    leader.process.kill()
    third = other.wait("elected")
    assert third["revision"] > second["revision"]
    assert third["at"] - killed < CROWDED, "the lease had to run out"


def test_who_is_started_again_does_not_wait_for_the_lease_of_the_killed(election_store: Cluster, start: Start) -> None:
    """It was never connected to its predecessor: on the same machine the kernel knows that it is gone."""
    name = role()
    one = start(name, "one", LONG)
    one.wait("elected")
    one.process.kill()
    began = time.monotonic()
    two = start(name, "two", LONG)
    assert two.wait("elected")["at"] - two.wait("stands")["at"] < CROWDED, f"after {time.monotonic() - began:.1f} s"


def test_a_killed_standby_is_in_nobodys_way(election_store: Cluster, start: Start) -> None:
    """The second of three dies, then the first: the third is not kept waiting by a key that has long to live."""
    name = role()
    one = start(name, "one", LONG)
    one.wait("elected")
    two = start(name, "two", LONG)
    stand_by(election_store, name, 2)
    three = start(name, "three", LONG)
    stand_by(election_store, name, 3)
    three.wait_connected(lifeline_port(election_store, name, 1))
    began = time.monotonic()
    two.process.kill()
    stand_by(election_store, name, 2)
    assert time.monotonic() - began < CROWDED, "its lease had to run out"
    killed = time.monotonic()
    one.process.kill()
    assert three.wait("elected")["at"] - killed < CROWDED


def test_marks_of_processes() -> None:
    mark = own_mark()
    assert not is_gone(mark)
    assert not is_gone({}), "who says nothing may live"
    assert not is_gone({**mark, "boot": "another machine", "pid": 2**22 + 1})
    assert not is_gone({**mark, "namespace": "pid:[1]", "pid": 2**22 + 1})
    assert is_gone({**mark, "pid": 2**22 + 1}), "no such process"
    assert is_gone({**mark, "started": mark["started"] - 1}), "the number was given to another process"
    for nonsense in (0, -1, "1", None, 2**70):
        assert not is_gone({**mark, "pid": nonsense})
    ended = subprocess.Popen([sys.executable, "-c", ""])
    started = {**mark, "pid": ended.pid, "started": 1}
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    assert is_gone(started), "what is left of it, until it is collected, runs no more"
    ended.wait()
    assert is_gone(started)


def test_one_that_dies_while_it_is_looked_for_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It lived when the kernel was asked, and was gone when it was visited: a visit alone cannot tell."""
    answers = iter([False, True])
    monkeypatch.setattr(election, "is_gone", lambda mark: next(answers))
    value = json.dumps({"host": "127.0.0.1", "port": free_port(), "word": "x", "process": {}}).encode()
    asyncio.run(asyncio.wait_for(election._dead(value), 30))


def test_a_paused_leader_comes_back_fenced(election_store: Cluster, start: Start) -> None:
    name = role()
    one = start(name, "one")
    one.wait("elected")
    two = start(name, "two")
    stand_by(election_store, name, 2)
    paused = time.monotonic()
    one.process.popen.send_signal(signal.SIGSTOP)
    assert two.wait("elected")["at"] - paused < CROWDED
    with Client(election_store.endpoints) as client:
        wait_until(lambda: client.get(f"work/{name}").value == b"two", "the new leader's write", timeout=10)
        one.process.popen.send_signal(signal.SIGCONT)
        assert one.wait("refused")["valid"] is False
        one.wait("lost")
        assert client.get(f"work/{name}").value == b"two"
    assert not two.told("refused")


def test_one_election_in_one_process(election_store: Cluster) -> None:
    async def run() -> None:
        name, led = role(), list[str]()
        async with connect(election_store.endpoints) as store:

            async def stand(identity: str) -> None:
                async with contextlib.aclosing(Elector(store, name, identity).terms()) as terms:  # type: ignore[type-var]
                    async for term in terms:
                        assert term.valid
                        led.append(identity)
                        if identity == "a" and led.count("a") == 1:
                            await store.delete(term.fence.key)
                            await term.lost.wait()
                            assert not term.valid
                            continue
                        return

            await stand("first")
            one = asyncio.create_task(stand("a"))
            while "a" not in led:
                await asyncio.sleep(0.01)
            await asyncio.gather(one, stand("b"))
            assert (await store.get_prefix(f"/fluyt/leaders/{name}/")).count == 0
        assert sorted(led) == ["a", "a", "b", "first"]

    asyncio.run(asyncio.wait_for(run(), 30))


def test_a_candidate_that_is_cancelled_leaves_the_line(election_store: Cluster) -> None:
    async def run() -> None:
        name = role()
        async with connect(election_store.endpoints) as store:

            async def stand() -> None:
                async for term in Elector(store, name, "x").terms():
                    await term.lost.wait()

            tasks = [asyncio.create_task(stand()) for _ in range(2)]
            while (await store.get_prefix(f"/fluyt/leaders/{name}/")).count < 2:
                await asyncio.sleep(0.01)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            while (await store.get_prefix(f"/fluyt/leaders/{name}/")).count:
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(run(), 30))


def test_verdicts(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        nobody = Lifeline("127.0.0.1")
        address = await nobody.open()
        nobody.close()
        with pytest.raises(NoVerdict):  # refused, but it never was seen alive
            await wait_gone(address)
        line = Lifeline("127.0.0.1")
        address = await line.open()
        with pytest.raises(NoVerdict):  # somebody else's port
            await wait_gone(Address(address.host, address.port, "0" * 32))
        caplog.set_level("INFO")
        waiting = asyncio.create_task(wait_gone(address))
        while "connected to the leader" not in caplog.text:
            await asyncio.sleep(0.005)
        assert not waiting.done()
        line.close()
        await waiting

    asyncio.run(asyncio.wait_for(run(), 20))
