"""Members in this process, on real disks and real sockets, without services: what no client can ask for can be tried.

A site is one machine's folder and ports. `stop` leaves the backend as it was last committed, so that a start replays
the log behind it, as after a kill; `image` is what a kill at this very moment would leave on the disk.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.ports import free_port

from kvstore.errors import EtcdError
from kvstore.member.bootstrap import open_member
from kvstore.member.config import Config
from kvstore.member.member import Member
from kvstore.member.peers.dial import Dialer
from kvstore.member.peers.joining import find_cluster
from kvstore.member.requests import RequestKind
from kvstore.pb import etcd_pb2 as pb
from kvstore.raft.types import ConfState, Entry, Role
from kvstore.storage.data_dir import DataDir
from kvstore.wire.limits import Limits
from kvstore.wire.server import GrpcServer


class Watched(Member):
    """A member that writes down the membership as of every entry it applies."""

    history: dict[int, ConfState]
    after_apply: Callable[[int], None]

    def apply(self, entry: Entry, late: Callable[[], bool]) -> bool:
        if not super().apply(entry, late):
            return False
        self.history[entry.index] = self.state.conf_state()
        self.after_apply(entry.index)
        return True


class Site:
    """One machine. The member lives between start() and stop()."""

    def __init__(self, path: Path, name: str, **settings: Any) -> None:
        self.path = path
        self.name = name
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.settings = settings
        self.history: dict[int, ConfState] = {}
        self.after_apply: Callable[[int], None] = lambda index: None
        self.removed = False
        self.member: Watched
        self._server: GrpcServer

    def config(self, founders: dict[str, list[str]], joins: bool) -> Config:
        config = Config(
            name=self.name,
            data_dir=str(self.path),
            initial_advertise_peer_urls=[self.url],
            advertise_client_urls=[f"http://{self.name}:1"],
            initial_cluster=founders,
            initial_cluster_state="existing" if joins else "new",
            heartbeat_interval=20,
            election_timeout=200,
            unsafe_no_fsync=True,
            **self.settings,
        )
        config.validate()
        return config

    async def start(self, founders: dict[str, list[str]] | None = None, *, joins: bool = False) -> Watched:
        """Open or found what is there, and run it."""
        config = self.config(founders or {self.name: [self.url]}, joins)
        data_dir = DataDir.open(self.path)
        fresh = joins and data_dir.identity() is None
        try:
            joined = await find_cluster(config, Dialer(config.peer_tls)) if fresh else None
            self._opened = open_member(config, data_dir, joined)
        except BaseException:
            data_dir.close()
            raise
        self.member = Watched(config, self._opened, failed=self._failed, removed=self._on_removed)
        self.member.history, self.member.after_apply = self.history, self.after_apply
        self._server = GrpcServer(limits=Limits(stall_timeout=0), max_message_bytes=1 << 30)
        self.member.register_peer(self._server)
        await self._server.listen("127.0.0.1", self.port)
        self.member.start()
        return self.member

    async def stop(self) -> None:
        """End the member without a last commit."""
        await self.member.stop()
        await self._server.stop(0)
        await asyncio.sleep(0)  # what the threads had to say is heard
        self._opened.close()

    def image(self, target: Path) -> None:
        """A copy of the folder as it is now; holes stay holes."""
        subprocess.run(["cp", "-a", "--sparse=always", str(self.path), str(target)], check=True)
        (target / "lock").unlink()

    def use(self, image: Path) -> None:
        """Put an image in the folder's place."""
        shutil.rmtree(self.path)
        shutil.copytree(image, self.path)

    def _failed(self, problem: BaseException) -> None:
        raise AssertionError(f"{self.name} failed") from problem

    def _on_removed(self) -> None:
        self.removed = True


async def until(condition: Callable[[], object], reason: str, seconds: float = 15.0) -> None:
    """Wait for it. TimeoutError with the reason."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            raise TimeoutError(f"waited {seconds:g} s for: {reason}")
        await asyncio.sleep(0.005)


async def put(member: Member, key: bytes, value: bytes) -> None:
    """Put a key; returns once it is applied there."""
    request = pb.PutRequest(key=key, value=value)
    await _done(lambda done: member.propose(RequestKind.PUT, request.SerializeToString(), request, done))


async def change(member: Member, *requests: tuple[int, bytes]) -> None:
    """A change of membership, joint if there are several requests. Raises what it was refused with."""
    await _done(lambda done: member.propose_change(requests, done))


async def _done(begin: Callable[[Callable[[Any, EtcdError | None], None]], None]) -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def done(result: Any, problem: EtcdError | None) -> None:
        if problem is None:
            future.set_result(None)
        else:
            future.set_exception(problem)

    begin(done)
    await future


def leader_of(*sites: Site) -> Site:
    """The site that leads; StopIteration if none does."""
    return next(site for site in sites if site.member.raw.role == Role.LEADER)


async def settled(*sites: Site) -> Site:
    """Wait until one leads and the others follow it; the leader."""

    def agreed() -> bool:
        leaders = {site.member.leader_id for site in sites}
        return len(leaders) == 1 and any(site.member.id in leaders for site in sites)

    await until(agreed, "one leader")
    return leader_of(*sites)


def value(member: Member, key: bytes) -> bytes:
    """What is applied there; b"" for no such key."""
    kvs = member.store.range(pb.RangeRequest(key=key)).kvs
    return pb.KeyValue.FromString(kvs[0]).value if kvs else b""
