"""Who is measured: our cluster, etcd's (both through one class), and PySyncObj. Each starts, is loaded, and ends."""

from __future__ import annotations

import itertools
import json
import queue
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self

from harness.binaries import Kind, find
from harness.cluster import Cluster
from harness.ports import free_port
from harness.process import death_signal
from harness.stubs import Stub
from harness.wait import wait_until

from kvstore.pb.etcd_pb2 import PutRequest, RangeRequest
from support.bench import distinct, h2load
from support.bench.h2load import SHAPES, Sample, summary

VALUE = 256
KEY = b"/bench/one-key"


class Contender(Protocol):
    """What the measurements need of a cluster of three."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def puts(self, in_flight: int, seconds: float) -> Sample | None:
        """Puts of 256 bytes at the leader."""

    def distinct_puts(self, in_flight: int, count: int) -> Sample | None:
        """The same with a new key each time; None where it makes no difference."""

    def gets(self, in_flight: int, seconds: float) -> Sample | None:
        """Linearizable gets at the leader; None where there are none."""

    def memory(self, keys: int) -> tuple[float, float] | None:
        """After `keys` keys of 256 bytes: RSS of the leader in MiB, and the part of it that is not mapped files."""

    def outage(self) -> float | None:
        """Seconds from kill -9 of the leader until writes go on, under load; the leader is brought back after."""


class GrpcCluster:
    """Ours and etcd's."""

    def __init__(self, kind: Kind) -> None:
        self.cluster = Cluster(kind, 3)
        self._keys = self._new_keys()

    def __enter__(self) -> Self:
        self.cluster.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.cluster.close()

    def _new_keys(self) -> Iterator[bytes]:
        for number in itertools.count():
            # Spread over the key space as a hash would; 40503 is odd, so no number comes twice within 2**32.
            yield b"/bench/%010d" % (number * 2654435761 % (1 << 32))

    @property
    def _leader(self) -> str:
        return self.cluster.endpoints[self.cluster.leader()]

    def _revision(self) -> int:
        return int(self.cluster.stub().Range(RangeRequest(key=KEY), timeout=10).header.revision)

    def puts(self, in_flight: int, seconds: float) -> Sample:
        """h2load's puts, checked by the revision."""
        before = self._revision()
        message = PutRequest(key=KEY, value=b"v" * VALUE).SerializeToString()
        sample = h2load.run(self._leader, "/etcdserverpb.KV/Put", message, in_flight, seconds)
        stored = self._revision() - before
        if stored < sample.count:
            raise RuntimeError(f"{self.cluster.kind}: {sample.count} puts were answered, {stored} are stored")
        return sample

    def distinct_puts(self, in_flight: int, count: int) -> Sample:
        """Our own client's puts, checked by the revision."""
        connections, streams = SHAPES[in_flight]
        before = self._revision()
        sample = distinct.puts(self._leader, self._keys, VALUE, count, connections, streams)
        stored = self._revision() - before
        if stored < sample.count:
            raise RuntimeError(f"{self.cluster.kind}: {sample.count} puts were answered, {stored} are stored")
        return sample

    def gets(self, in_flight: int, seconds: float) -> Sample:
        """h2load's linearizable gets of the key that was put."""
        message = RangeRequest(key=KEY).SerializeToString()
        return h2load.run(self._leader, "/etcdserverpb.KV/Range", message, in_flight, seconds)

    def memory(self, keys: int) -> tuple[float, float]:
        """RSS of the leader of a cluster started afresh for it."""
        with GrpcCluster(self.cluster.kind) as fresh:
            fresh.distinct_puts(100, keys)
            process = fresh.cluster.members[fresh.cluster.leader()].process
            assert process is not None
            return resident(process.pid)

    def outage(self) -> float:
        """From the kill to the first acknowledgement of a put that was sent after it, at either survivor.

        A put goes out every 10 ms: one that a member passed on to the dead leader is lost for seconds, the next is not.
        """
        leader = self.cluster.leader()
        self.puts(32, 0.5)
        survivors = [self.cluster.stub(i) for i in range(3) if i != leader]
        for stub in survivors:
            stub.Put(PutRequest(key=KEY), timeout=10)
        self.cluster.kill(leader)
        pause = _first_success(survivors)
        self.cluster.restart(leader)
        self.cluster.leader()
        return pause


def _first_success(stubs: list[Stub]) -> float:
    """Seconds until the first of many puts, sent 10 ms apart to the stubs in turn, is acknowledged."""
    killed = time.monotonic()
    acknowledged: queue.SimpleQueue[float] = queue.SimpleQueue()

    def done(call: Any) -> None:
        if call.exception() is None:
            acknowledged.put(time.monotonic())

    for stub in itertools.cycle(stubs):
        stub.Put.future(PutRequest(key=KEY), timeout=10).add_done_callback(done)
        try:
            return acknowledged.get(timeout=0.01) - killed
        except queue.Empty:
            if time.monotonic() - killed > 60:
                raise RuntimeError("no write succeeded within a minute of the kill") from None
    raise AssertionError("cycle does not end")


class PySyncObjCluster:
    """Three processes of pysyncobj_node.py. No fsync, no server front: the load runs inside the leader."""

    def __init__(self) -> None:
        self._nodes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        names = [f"127.0.0.1:{free_port()}" for _ in range(3)]
        script = str(Path(__file__).with_name("pysyncobj_node.py"))
        for name in names:
            command = [*death_signal(), sys.executable, script, name, *(n for n in names if n != name)]
            self._nodes.append(
                subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
                )
            )
        self._leader = wait_until(self._find_leader, "a PySyncObj leader", timeout=30, interval=0.2)
        return self

    def __exit__(self, *_: object) -> None:
        for node in self._nodes:
            node.kill()
            node.wait()
            for pipe in (node.stdin, node.stdout):
                _pipe(pipe).close()

    def _find_leader(self) -> subprocess.Popen[str] | None:
        answers = [(node, self._ask(node, "leader")) for node in self._nodes]
        leaders = {a["leader"] for _, a in answers}
        if len(leaders) != 1 or leaders == {None}:
            return None
        return next(node for node, a in answers if a["self"] == a["leader"])

    def _ask(self, node: subprocess.Popen[str], line: str) -> dict[str, Any]:
        _pipe(node.stdin).write(line + "\n")
        _pipe(node.stdin).flush()
        answer: dict[str, Any] = json.loads(_pipe(node.stdout).readline())
        return answer

    def puts(self, in_flight: int, seconds: float) -> Sample:
        """Sets of a replicated dictionary, from inside the leading process."""
        answer = self._ask(self._leader, f"{in_flight} {seconds}")
        return summary(answer["rate"], answer["latencies"])

    def distinct_puts(self, in_flight: int, count: int) -> None:
        """Its puts have distinct keys as it is."""
        return

    def gets(self, in_flight: int, seconds: float) -> None:
        """It has no linearizable reads."""
        return

    def memory(self, keys: int) -> tuple[float, float] | None:
        """RSS of the leader after as many more keys; None when it lost some of them."""
        answer = self._ask(self._leader, f"fill {keys}")
        return resident(self._leader.pid) if len(answer["latencies"]) == keys else None

    def outage(self) -> None:
        """The load runs inside the process that would be killed."""
        return


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def resident(pid: int) -> tuple[float, float]:
    """(RSS, RSS without mapped files) of a process in MiB."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    whole, anonymous = (int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "RssAnon"))
    return whole, anonymous


def available() -> dict[str, str]:
    """Names of the contenders on this machine → what they are called in tables."""
    names = {"fluyt": "Fluyt", "etcd-3.5": "etcd 3.5.1", "etcd-3.4": "etcd 3.4.23"}
    found = {kind: title for kind, title in names.items() if find(kind)}
    try:
        import pysyncobj  # noqa: F401
    except ImportError:
        return found
    return {**found, "pysyncobj": "PySyncObj"}


def make(name: str) -> Contender:
    """A contender, not started yet."""
    if name == "pysyncobj":
        return PySyncObjCluster()
    kinds: dict[str, Kind] = {"fluyt": "fluyt", "etcd-3.5": "etcd-3.5", "etcd-3.4": "etcd-3.4"}
    return GrpcCluster(kinds[name])
