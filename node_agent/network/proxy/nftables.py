"""The nftables proxy: what nft_table.py says, in one transaction after the other.

Invariants: the kernel's table is what we applied last, or, after a failure, is made anew as a whole; what a
cluster whose agent is gone has left is removed by the next agent that starts (leftovers.py); a node port that another
cluster or program of the machine has is left out (reservations.py).
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

from node_agent.network.command import CommandFailed, program, run
from node_agent.network.proxy.leftovers import delete_table, remove_leftovers
from node_agent.network.proxy.nft_table import build, table_name
from node_agent.network.proxy.ports import Refusal, ServicePort
from node_agent.network.proxy.reservations import Port, PortReservations
from node_agent.network.ruleset import Table, change, whole

log = logging.getLogger(__name__)


class NftablesProxy:
    """cluster: what tells it from others on the machine. clear(): removes what a user-space proxy that was killed has
    left."""

    name = "nftables"

    def __init__(self, cluster: str, clear: Callable[[], Awaitable[None]]) -> None:
        self._cluster, self._clear = cluster, clear
        self._table: Table | None = None
        self._reserved = PortReservations()
        self.refusals: list[Refusal] = []

    async def open(self) -> None:
        """Raises CommandFailed."""
        await remove_leftovers()
        await self._clear()
        # Answers of pods on a bridge, and what comes from outside, pass through.
        await asyncio.to_thread(_forward)

    async def apply(self, ports: Sequence[ServicePort]) -> None:
        """Raises CommandFailed; then nothing has changed."""
        wanted = build(self._cluster, self._granted(ports))
        commands = whole(wanted) if self._table is None else change(self._table, wanted)
        self._table = None  # until it is known to stand
        if commands:
            await run("nft", "-f", "-", stdin=commands)
        self._table = wanted

    def _granted(self, ports: Sequence[ServicePort]) -> list[ServicePort]:
        """Without the node ports that somebody else has."""
        refused = self._reserved.hold({_held(port) for port in ports if port.node_port})
        theirs = [port for port in ports if _held(port) in refused]
        self.refusals = sorted({_refusal(port, refused[_held(port)]) for port in theirs})
        return [replace(port, node_port=0) if port in theirs else port for port in ports] if theirs else list(ports)

    async def check(self) -> bool:
        """Whether the table is still there, `nft flush ruleset` takes everybody's; and whether it has all it should."""
        if self.refusals:
            return False
        if f"table {table_name(self._cluster)}" in await run("nft", "list", "tables"):
            return True
        self._table = None
        return False

    async def close(self) -> None:
        self._table = None
        self.refusals = []
        self._reserved.close()
        await remove_table(self._cluster)


def _held(port: ServicePort) -> Port:
    return port.protocol, port.node_port, ""


def _refusal(port: ServicePort, why: str) -> Refusal:
    return Refusal(port.namespace, port.service, f"{port.node_port}/{port.protocol}", why)


async def remove_table(cluster: str) -> None:
    """Remove a cluster's table, if there is one. Raises CommandFailed."""
    await delete_table(table_name(cluster))


async def why_not() -> str:
    """Why this machine cannot have an nftables proxy; "" when it can."""
    if os.geteuid() != 0:
        return "it needs root"
    if not program("nft"):
        return "there is no program nft; install Debian's nftables"
    try:
        await run("nft", "-c", "-f", "-", stdin=whole(build("probe", ())))
    except CommandFailed as problem:
        return str(problem)
    return ""


def _forward() -> None:
    for path in ("/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"):
        try:
            if Path(path).read_text().strip() == "0":
                Path(path).write_text("1")
        except OSError as problem:
            log.info("%s cannot be set: %s", path, problem.strerror)
