"""A network of its own for a cluster's members: one namespace each, one bridge, and cuts between any two, also one-way.

Needs root, `ip` and `nft`. Members get 198.18.N.1, .2, …, a range reserved for benchmarks, so that nothing else on
the machine is touched; this process reaches all of them through an address of its own on the bridge. A cut drops
packets where they arrive: connections do not break, they fall silent, as when a switch fails.
"""

from __future__ import annotations

import os
import subprocess
from types import TracebackType
from typing import Self

from harness.binaries import find


def impossible() -> str | None:
    """Why this machine cannot have such networks; None if it can."""
    if os.geteuid() != 0:
        return "network drills need root"
    for tool in ("ip", "nft"):
        if find(tool) is None:
            return f"network drills need {tool}"
    probe = f"fluyt-probe-{os.getpid()}"
    if _try(["ip", "netns", "add", probe]):
        return "this machine allows no network namespaces"
    reason = None
    if _try(["ip", "netns", "exec", probe, "nft", "add", "table", "ip", "probe"]):
        reason = "this machine allows no nft rules"
    _try(["ip", "netns", "del", probe])
    return reason


def _try(words: list[str]) -> int:
    return subprocess.run(words, capture_output=True, check=False).returncode


class Network:
    """members namespaces on one bridge; a context manager, so that nothing of it stays behind."""

    def __init__(self, members: int) -> None:
        # The process id keeps two runs apart, in names (15 characters at most) and in addresses.
        self._tag = f"{os.getpid() % 100_000:05d}"
        self._subnet = f"198.{18 + os.getpid() % 2}.{os.getpid() // 2 % 250 + 1}"
        self.members = members
        self._bridge = f"flt{self._tag}br"

    @property
    def hosts(self) -> list[str]:
        """The members' addresses."""
        return [f"{self._subnet}.{i + 1}" for i in range(self.members)]

    @property
    def prefixes(self) -> list[list[str]]:
        """Words that start a command inside a member's namespace."""
        return [["ip", "netns", "exec", self._namespace(i)] for i in range(self.members)]

    def _namespace(self, index: int) -> str:
        return f"fluyt-{self._tag}-{index + 1}"

    def _link(self, index: int) -> str:
        return f"flt{self._tag}v{index + 1}"

    def __enter__(self) -> Self:
        try:
            self._make()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _make(self) -> None:
        _run("ip", "link", "add", self._bridge, "type", "bridge")
        _run("ip", "addr", "add", f"{self._subnet}.254/24", "dev", self._bridge)
        _run("ip", "link", "set", self._bridge, "up")
        for index, host in enumerate(self.hosts):
            namespace, link = self._namespace(index), self._link(index)
            _run("ip", "netns", "add", namespace)
            _run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", namespace)
            _run("ip", "link", "set", link, "master", self._bridge, "up")
            _run("ip", "-n", namespace, "addr", "add", f"{host}/24", "dev", "eth0")
            _run("ip", "-n", namespace, "link", "set", "eth0", "up")
            _run("ip", "-n", namespace, "link", "set", "lo", "up")
            self._nft(index, "add table ip fluyt; add chain ip fluyt in { type filter hook input priority 0; }")

    def _nft(self, index: int, rules: str) -> None:
        _run("ip", "netns", "exec", self._namespace(index), "nft", rules)

    def cut(self, sender: int, receiver: int) -> None:
        """Nothing that `sender` sends reaches `receiver` any more; the other way stays open."""
        self._nft(receiver, f"add rule ip fluyt in ip saddr {self.hosts[sender]} drop")

    def split(self, one: list[int], other: list[int]) -> None:
        """No word between the two sides, either way."""
        for a in one:
            for b in other:
                self.cut(a, b)
                self.cut(b, a)

    def heal(self) -> None:
        """All ways are open again."""
        for index in range(self.members):
            self._nft(index, "flush chain ip fluyt in")

    def close(self) -> None:
        """Remove links, namespaces and bridge; what is not there does not matter."""
        for index in range(self.members):
            # By itself: a link goes with its namespace, too, but some time later, and its name would still be taken.
            _try(["ip", "link", "del", self._link(index)])
            _try(["ip", "netns", "del", self._namespace(index)])
        _try(["ip", "link", "del", self._bridge])


def _run(*words: str) -> None:
    run = subprocess.run(words, capture_output=True, text=True, check=False)
    if run.returncode:
        raise OSError(f"{' '.join(words)}: {run.stderr.strip()}")
