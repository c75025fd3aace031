"""The store behind the fixture etcd_cluster: members as child processes, with the faults that tests want."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from control.testing.child import Child
from control.up.ports import free_ports

_START_SECONDS: Final = 30.0
_POLL: Final = 0.02


class EtcdMember:
    """One member. endpoint: host:port for clients."""

    def __init__(self, cluster: EtcdCluster, name: str, client: int, peer: int) -> None:
        self._cluster = cluster
        self.name = name
        self.client_port, self.peer_port = client, peer
        self._child: Child | None = None

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.client_port}"

    @property
    def peer_url(self) -> str:
        return f"http://127.0.0.1:{self.peer_port}"

    def start(self) -> None:
        """Start it, with the data it had; nothing if it runs."""
        if self._child is not None and self._child.running:
            return
        folder, url = self._cluster.folder, f"http://{self.endpoint}"
        flags = {
            "name": self.name,
            "data-dir": str(folder / self.name),
            "listen-client-urls": url,
            "advertise-client-urls": url,
            "listen-peer-urls": self.peer_url,
            "initial-advertise-peer-urls": self.peer_url,
            "initial-cluster": ",".join(f"{m.name}={m.peer_url}" for m in self._cluster.members),
            "initial-cluster-token": folder.name,
        }
        self._child = Child(["store", *(f"--{k}={v}" for k, v in flags.items())], folder / f"{self.name}.log")

    def kill(self) -> None:
        """As kill -9."""
        if self._child is not None:
            self._child.kill()

    def stop(self) -> None:
        """As SIGTERM."""
        if self._child is not None:
            self._child.stop()

    def pause(self) -> None:
        """As SIGSTOP: it answers nobody, and nobody can tell why."""
        if self._child is not None:
            self._child.send(signal.SIGSTOP)

    def resume(self) -> None:
        """As SIGCONT."""
        if self._child is not None:
            self._child.send(signal.SIGCONT)

    def check(self) -> None:
        """RuntimeError, with its last words, when it has ended."""
        if self._child is not None and not self._child.running:
            raise RuntimeError(f"{self.name} ended:\n{self._child.last_words()}")


class EtcdCluster:
    """A store of some members that lives as long as the block."""

    def __init__(self, folder: Path, members: int = 1) -> None:
        """RuntimeError when it does not come up."""
        self.folder = folder
        ports = free_ports(members * 2)
        self.members: list[EtcdMember] = []
        for number in range(members):
            self.members.append(EtcdMember(self, f"m{number + 1}", *ports[number * 2 : number * 2 + 2]))
        try:
            for member in self.members:
                member.start()
            self.wait()
        except BaseException:
            self.close()
            raise

    @property
    def endpoints(self) -> list[str]:
        """host:port of each member."""
        return [member.endpoint for member in self.members]

    def wait(self, seconds: float = _START_SECONDS) -> None:
        """Return when the store serves: a linearizable read is answered. RuntimeError when it does not come to that."""
        from kvstore.client import Client, ClientError

        deadline = time.monotonic() + seconds
        with Client(self.endpoints, timeout=1.0) as client:
            while True:
                try:
                    client.get("health")
                    return
                except ClientError as problem:
                    for member in self.members:
                        member.check()
                    if time.monotonic() > deadline:
                        raise RuntimeError(f"the store does not serve: {problem}") from None
                time.sleep(_POLL)

    def close(self) -> None:
        """End every member."""
        for member in self.members:
            member.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
