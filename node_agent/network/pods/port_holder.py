"""Who has a port of this machine, in words for an event: a program that listens, or the pods of another bridge of ours.

A look at the moment, for people: who holds a port may have gone by the time it is asked for. Nothing here raises.
Source: proc_pid_net(5) for the tables of sockets, proc_pid_fd(5) for whose they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from node_agent.network.command import CommandFailed, run
from node_agent.network.pods.pod_table import PREFIX

# The state of a socket that takes connections, or datagrams of anybody.
_LISTENS: Final = {"TCP": "0A", "UDP": "07"}
NOBODY_SEEN: Final = "another cluster or program of the machine"


async def holder(protocol: str, port: int) -> str:
    """Its name; NOBODY_SEEN when it cannot be told."""
    program = await asyncio.to_thread(_program, protocol, port)
    if program:
        return program
    with contextlib.suppress(CommandFailed):
        return await _bridge(protocol, port) or NOBODY_SEEN
    return NOBODY_SEEN


def _program(protocol: str, port: int) -> str:
    inodes = set(_inodes(protocol, port))
    if not inodes:
        return ""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(os.readlink(link) in inodes for link in (process / "fd").iterdir()):
                return f"process {process.name} ({(process / 'comm').read_text().strip()})"
    return ""


def _inodes(protocol: str, port: int) -> Iterator[str]:
    for table in (protocol.lower(), f"{protocol.lower()}6"):
        with contextlib.suppress(OSError):
            for row in Path("/proc/net", table).read_text().splitlines()[1:]:
                columns = row.split()
                if columns[3] == _LISTENS[protocol] and int(columns[1].rpartition(":")[2], 16) == port:
                    yield f"socket:[{columns[9]}]"


async def _bridge(protocol: str, port: int) -> str:
    """Raises CommandFailed."""
    names = re.findall(rf"^table inet {PREFIX}-(\S+)$", await run("nft", "list", "tables"), re.MULTILINE)
    leads = re.compile(rf"\b{protocol.lower()} dport {port} dnat\b")
    for name in names:
        with contextlib.suppress(CommandFailed):
            if leads.search(await run("nft", "-n", "list", "chain", "inet", f"{PREFIX}-{name}", "host-ports")):
                return f"a pod behind bridge {name}"
    return ""
