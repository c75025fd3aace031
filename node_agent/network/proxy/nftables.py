"""The nftables proxy: what nft_table.py says, in one transaction after the other.

Invariants: the kernel's table is what we applied last, or, after a failure, is made anew as a whole; a table of a
cluster whose agent is gone (nobody holds its lock) is removed by the next agent that starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from node_agent.network.command import CommandFailed, program, run
from node_agent.network.machine_lock import MachineLock, path_of
from node_agent.network.proxy.nft_table import PREFIX, build, table_name
from node_agent.network.proxy.ports import ServicePort
from node_agent.network.ruleset import Table, change, whole

log = logging.getLogger(__name__)


class NftablesProxy:
    """cluster: what tells it from others on the machine. clear(): removes what a user-space proxy that was killed has
    left."""

    name = "nftables"

    def __init__(self, cluster: str, clear: Callable[[], Awaitable[None]]) -> None:
        self._cluster, self._clear = cluster, clear
        self._table: Table | None = None

    async def open(self) -> None:
        """Raises CommandFailed."""
        await remove_leftovers()
        await self._clear()
        # Answers of pods on a bridge, and what comes from outside, pass through.
        await asyncio.to_thread(_forward)

    async def apply(self, ports: Sequence[ServicePort]) -> None:
        """Raises CommandFailed; then nothing has changed."""
        wanted = build(self._cluster, ports)
        commands = whole(wanted) if self._table is None else change(self._table, wanted)
        self._table = None  # until it is known to stand
        if commands:
            await run("nft", "-f", "-", stdin=commands)
        self._table = wanted

    async def check(self) -> bool:
        """Whether the table is still there: `nft flush ruleset` takes everybody's."""
        if f"table {table_name(self._cluster)}" in await run("nft", "list", "tables"):
            return True
        self._table = None
        return False

    async def close(self) -> None:
        self._table = None
        await remove_table(self._cluster)


async def remove_table(cluster: str) -> None:
    """Remove a cluster's table, if there is one. Raises CommandFailed."""
    await _delete(table_name(cluster))


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


async def remove_leftovers() -> None:
    """Tables of agents that were killed and have not come back. Raises CommandFailed."""
    listed = json.loads(await run("nft", "-j", "list", "tables"))
    names = [each["table"]["name"] for each in listed.get("nftables") or [] if "table" in each]
    for name in names:
        cluster = name.removeprefix(f"{PREFIX}-")
        if cluster == name:
            continue
        lock = MachineLock(path_of("proxy", cluster))
        with contextlib.suppress(OSError):
            if lock.take():
                log.info("removing the table %s, whose agent is gone", name)
                await _delete(f"inet {name}")
        lock.release()


async def _delete(table: str) -> None:
    # Added first, so that it is no mistake when it is not there.
    await run("nft", "-f", "-", stdin=f"add table {table}\ndelete table {table}\n")


def _forward() -> None:
    for path in ("/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"):
        try:
            if Path(path).read_text().strip() == "0":
                Path(path).write_text("1")
        except OSError as problem:
            log.info("%s cannot be set: %s", path, problem.strerror)
