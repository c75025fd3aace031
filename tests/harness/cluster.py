"""A real cluster on this machine, ours or etcd's: both are started with the same flags and driven in the same way.

Every member is one process with its own data directory and log under one temporary folder. Faults are methods:
kill, pause, resume, wipe. Whatever happens in a test, `close` (or the end of the process) ends every member.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc

from harness.binaries import CURES, Kind, find
from harness.ports import free_port
from harness.process import Process
from harness.stubs import Stub, open_channel
from harness.wait import wait_until
from kvstore.pb.etcd_pb2 import RangeRequest, StatusRequest, StatusResponse

_FOLDER = "fluyt-cluster"


@cache
def _sweep() -> None:
    """Remove the data that killed runs left behind: of folders whose process is no more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}-*-*"):
        owner = folder.name.removeprefix(f"{_FOLDER}-").split("-")[0]
        if Path("/proc", owner).exists() or os.environ.get("FLUYT_KEEP_DATA") or not os.access(folder, os.W_OK):
            continue  # at work, wanted, or another user's
        for data in (d for d in folder.iterdir() if d.is_dir()):
            # Logs of a failed test are small, and someone may still want to read them.
            shutil.rmtree(data, ignore_errors=True)


def make_directory(kind: str) -> Path:
    """A temporary folder named after this process, for one cluster."""
    _sweep()
    return Path(tempfile.mkdtemp(prefix=f"{_FOLDER}-{os.getpid()}-{kind}-"))


# All clusters not closed yet, for the report of a failed test.
open_clusters: list[Cluster] = []


@dataclass
class Member:
    """One member: where it listens, what it stores, its process (None before the first start)."""

    name: str
    host: str
    client_port: int
    peer_port: int
    data_dir: Path
    log: Path
    # Words before its command: how to get into its network namespace.
    prefix: Sequence[str] = ()
    # What --initial-cluster says to a member that joins; "" for a founder.
    joins: str = ""
    # Taken out of the cluster.
    removed: bool = False
    process: Process | None = None
    channel: grpc.Channel | None = field(default=None, repr=False)

    @property
    def endpoint(self) -> str:
        """host:port for clients."""
        return f"{self.host}:{self.client_port}"

    @property
    def peer_url(self) -> str:
        """http://host:port for the other members."""
        return f"http://{self.host}:{self.peer_port}"

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self.process is not None and self.process.running


class Cluster:
    """members processes of one kind. Use as a context manager, or call start() and close()."""

    def __init__(
        self,
        kind: Kind,
        members: int = 3,
        flags: Sequence[str] = (),
        directory: Path | None = None,
        token: str | None = None,
        hosts: Sequence[str] = (),
        prefixes: Sequence[Sequence[str]] = (),
        environment: Mapping[str, str] | None = None,
        ports: Sequence[tuple[int, int]] = (),
    ) -> None:
        """flags: words added to every member's command line. directory: made and removed here if None.

        ports: (client, peer) of each member, free ones if not given.
        hosts, prefixes: for members in network namespaces of their own, an address and the words that enter it.
        Raises FileNotFoundError when the machine has no such server.
        """
        program = find(kind)
        if program is None:
            raise FileNotFoundError(f"no {kind} on this machine; cure: {CURES[kind]}")
        self.kind = kind
        self.flags = list(flags)
        self.directory = directory or make_directory(kind)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.token = token or f"test-{uuid.uuid4().hex[:12]}"
        # After a failed test the logs stay (the data too with FLUYT_KEEP_DATA: 64 MiB and more a member).
        self.keep_logs = False
        self.environment = environment
        self._command = [program, "store"] if kind == "fluyt" else [program]
        self.members = [
            self._member(i, hosts[i] if hosts else "127.0.0.1", prefixes[i] if prefixes else ()) for i in range(members)
        ]
        for member, pair in zip(self.members, ports, strict=False):
            member.client_port, member.peer_port = pair
        open_clusters.append(self)

    def _member(self, index: int, host: str, prefix: Sequence[str]) -> Member:
        name = f"m{index + 1}"
        return Member(
            name=name,
            host=host,
            client_port=free_port() if host == "127.0.0.1" else 2379,
            peer_port=free_port() if host == "127.0.0.1" else 2380,
            data_dir=self.directory / name,
            log=self.directory / f"{name}.log",
            prefix=prefix,
        )

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- life ----

    def start(self) -> Self:
        """Start every member and wait until each of them answers a linearizable read."""
        for index in range(len(self.members)):
            self.launch(index)
        self.wait_healthy(timeout=40)
        return self

    def arguments(self, index: int) -> list[str]:
        """The whole command line of one member."""
        member = self.members[index]
        client_url = f"http://{member.endpoint}"
        founders = ",".join(f"{m.name}={m.peer_url}" for m in self.members if not m.joins)
        pairs = {
            "--name": member.name,
            "--data-dir": str(member.data_dir),
            "--listen-client-urls": client_url,
            "--advertise-client-urls": client_url,
            "--listen-peer-urls": member.peer_url,
            "--initial-advertise-peer-urls": member.peer_url,
            "--initial-cluster": member.joins or founders,
            "--initial-cluster-state": "existing" if member.joins else "new",
            "--initial-cluster-token": self.token,
        }
        return [*self._command, *(word for pair in pairs.items() for word in pair), *self.flags]

    def launch(self, index: int) -> Process:
        """Start one member's process and return at once."""
        member = self.members[index]
        if member.running:
            raise RuntimeError(f"{member.name} runs already")
        member.process = Process(self.arguments(index), member.log, self.environment, member.prefix)
        return member.process

    def restart(self, index: int) -> None:
        """Start a member that was killed or stopped (stops it first if it runs) and wait until it answers."""
        if self.members[index].running:
            self.stop(index)
        self.launch(index)
        self.wait_healthy([index])

    def kill(self, index: int) -> None:
        """SIGKILL: the crash of one member."""
        process = self.members[index].process
        if process is not None:
            process.kill()

    def kill_all(self) -> None:
        """SIGKILL to every member before waiting for any: the power cut of a rack."""
        for member in self.members:
            if member.process is not None:
                member.process.resume()
                member.process.popen.send_signal(signal.SIGKILL)
        for index in range(len(self.members)):
            self.kill(index)

    def stop(self, index: int) -> int:
        """SIGTERM and wait; the exit code."""
        process = self.members[index].process
        return process.stop() if process is not None else 0

    def pause(self, index: int) -> None:
        """SIGSTOP one member."""
        process = self.members[index].process
        if process is not None:
            process.pause()

    def resume(self, index: int) -> None:
        """SIGCONT one member."""
        process = self.members[index].process
        if process is not None:
            process.resume()

    def wipe(self, index: int) -> None:
        """Remove the data directory of a member that does not run."""
        member = self.members[index]
        if member.running:
            raise RuntimeError(f"{member.name} runs: stop it before its disk is wiped")
        shutil.rmtree(member.data_dir, ignore_errors=True)

    def new_member(self) -> int:
        """A place for one more member, which is neither added nor started yet; its index."""
        self.members.append(self._member(len(self.members), "127.0.0.1", ()))
        return len(self.members) - 1

    def close(self) -> None:
        """End every member; remove the files, but the logs of a failed test."""
        for member in self.members:
            if member.process is not None:
                member.process.kill()
            if member.channel is not None:
                member.channel.close()
                member.channel = None
        if self in open_clusters:
            open_clusters.remove(self)
        if self.keep_logs and os.environ.get("FLUYT_KEEP_DATA"):
            return
        for member in self.members:
            shutil.rmtree(member.data_dir, ignore_errors=True)
        if not self.keep_logs:
            shutil.rmtree(self.directory, ignore_errors=True)

    # ---- talking to it ----

    @property
    def endpoints(self) -> list[str]:
        """host:port of every member."""
        return [member.endpoint for member in self.members]

    def stub(self, index: int = 0) -> Stub:
        """A stub on the member's channel, which is kept and shared."""
        member = self.members[index]
        if member.channel is None:
            member.channel = open_channel(member.endpoint)
        return Stub(member.channel)

    def status(self, index: int, timeout: float = 2.0) -> StatusResponse | None:
        """Maintenance.Status of a member, None if it does not answer within `timeout` seconds."""
        try:
            answer: StatusResponse = self.stub(index).Status(StatusRequest(), timeout=timeout)
        except grpc.RpcError:
            return None
        return answer

    def healthy(self, index: int) -> bool:
        """Whether the member answers a linearizable read."""
        try:
            self.stub(index).Range(RangeRequest(key=b"health"), timeout=2.0)
        except grpc.RpcError:
            return False
        return True

    def wait_healthy(self, indexes: Sequence[int] | None = None, timeout: float = 30.0) -> None:
        """Wait until every member (or each of `indexes`) answers a linearizable read.

        Raises RuntimeError at once when one of them has ended, with its log; TimeoutError after `timeout` seconds.
        """
        for index in range(len(self.members)) if indexes is None else indexes:
            name = self.members[index].name
            wait_until(self._alive_and(self.healthy, index), f"{self.kind} {name} to be healthy", timeout)

    def _alive_and(self, condition: Callable[[int], bool], index: int) -> Callable[[], bool]:
        def check() -> bool:
            if not self.members[index].running:
                raise RuntimeError(f"{self.members[index].name} ended by itself:\n{self.log_tail(index)}")
            return condition(index)

        return check

    def leader(self, timeout: float = 20.0, other_than: int | None = None) -> int:
        """The index of the member that leads, by its own word and that of a majority.

        other_than: wait for a leader that is not this one.
        """
        found = wait_until(lambda: self._leader_now(other_than), f"a leader of {self.kind}", timeout, 0.05)
        return found[0]

    def _leader_now(self, other_than: int | None) -> tuple[int] | None:
        """A one-tuple, because index 0 counts as false."""
        running = [i for i, m in enumerate(self.members) if m.running and not (m.process and m.process.paused)]
        answers = {i: s for i in running if (s := self.status(i, timeout=1.0)) is not None}
        for index, status in answers.items():
            follows = sum(1 for s in answers.values() if s.leader == status.header.member_id)
            most = follows > sum(not m.removed for m in self.members) // 2
            if status.leader == status.header.member_id and most and index != other_than:
                return (index,)
        return None

    def followers(self) -> list[int]:
        """Indexes of all members but the leader."""
        leader = self.leader()
        return [i for i in range(len(self.members)) if i != leader]

    def log_tail(self, index: int, lines: int = 40, width: int = 300) -> str:
        """The last lines of a member's log, none longer than `width` characters."""
        log = self.members[index].log
        if not log.exists():
            return "(no log)"
        return "\n".join(line[:width] for line in log.read_text(errors="replace").splitlines()[-lines:])


# What the fixture new_cluster is: new_cluster(kind=None, members=3, flags=(), start=True).
ClusterFactory = Callable[..., Cluster]
