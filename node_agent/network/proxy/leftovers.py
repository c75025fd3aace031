"""What proxies of killed agents have left on the machine: tables, interfaces with cluster IPs, files of locks.

Invariant: only what belongs to a cluster whose lock nobody holds is removed; so a proxy that serves loses nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
from collections.abc import Iterator
from typing import Final

from node_agent.network.command import CommandFailed, program, run
from node_agent.network.machine_lock import MachineLock, path_of, remove_unheld
from node_agent.network.proxy.nft_table import PREFIX

log = logging.getLogger(__name__)

INTERFACE_PREFIX: Final = "fluyt-"
# As settings.cluster_id makes them.
_CLUSTER: Final = "([0-9a-f]{8})"


async def remove_leftovers() -> None:
    """Of every cluster that nobody serves. Raises CommandFailed."""
    if program("nft"):
        for name, cluster in _matching(await _tables(), f"{PREFIX}-{_CLUSTER}"):
            with _unserved(cluster) as ours:
                if ours:
                    log.info("removing the table %s, whose agent is gone", name)
                    await delete_table(f"inet {name}")
    if program("ip"):
        for name, cluster in _matching(await _links(), f"{INTERFACE_PREFIX}{_CLUSTER}"):
            with _unserved(cluster) as ours, contextlib.suppress(CommandFailed):
                if ours:
                    log.info("removing the interface %s, whose agent is gone", name)
                    await run("ip", "link", "del", "dev", name)
    await asyncio.to_thread(remove_unheld, "proxy")


async def delete_table(table: str) -> None:
    """table: with its family. Raises CommandFailed."""
    # Added first, so that it is no mistake when it is not there.
    await run("nft", "-f", "-", stdin=f"add table {table}\ndelete table {table}\n")


def _matching(names: list[str], pattern: str) -> list[tuple[str, str]]:
    """(name, cluster) of those that are a proxy's."""
    found = ((name, re.fullmatch(pattern, name)) for name in names)
    return [(name, match[1]) for name, match in found if match]


@contextlib.contextmanager
def _unserved(cluster: str) -> Iterator[bool]:
    """Whether nobody serves the cluster, which stays so for the length of the block."""
    lock = MachineLock(path_of("proxy", cluster))
    ours = False
    with contextlib.suppress(OSError):
        ours = lock.take()
    try:
        yield ours
    finally:
        lock.release()


async def _tables() -> list[str]:
    listed = json.loads(await run("nft", "-j", "list", "tables"))
    return [each["table"]["name"] for each in listed.get("nftables") or [] if "table" in each]


async def _links() -> list[str]:
    return [str(each["ifname"]) for each in json.loads(await run("ip", "-j", "link", "show") or "[]")]
