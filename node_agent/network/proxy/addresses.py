"""The cluster's addresses on this machine, for the user-space proxy: /32 and /128 on an interface of their own.

An interface that is ours alone, a dummy or (where there are none) a bridge without ports: whatever an agent left behind
when it was killed is taken over or goes with the interface. Faults assumed: no right to make one (CommandFailed).
"""

from __future__ import annotations

import contextlib
import json
from ipaddress import ip_address
from typing import Final

from node_agent.network.command import CommandFailed, run

_KINDS: Final = ("dummy", "bridge")


class ServiceAddresses:
    """interface: its name, at most 15 characters."""

    def __init__(self, interface: str) -> None:
        self._interface = interface
        self._present: set[str] = set()

    async def open(self) -> None:
        """Raises CommandFailed."""
        for kind in _KINDS:
            with contextlib.suppress(CommandFailed):
                await run("ip", "link", "add", "dev", self._interface, "type", kind)
        await run("ip", "link", "set", "dev", self._interface, "up")
        shown = json.loads(await run("ip", "-j", "addr", "show", "dev", self._interface) or "[]")
        found = [info for each in shown for info in each.get("addr_info") or []]
        self._present = {_plain(info["local"]) for info in found if info.get("scope") != "link"}

    async def set(self, wanted: set[str]) -> None:
        """Have exactly these. Raises CommandFailed."""
        wanted = {_plain(address) for address in wanted}
        lines = [f"addr del {_host(a)} dev {self._interface}" for a in sorted(self._present - wanted)]
        for address in sorted(wanted - self._present):
            # An IPv6 address that is still tested for duplicates cannot be listened on.
            extra = " nodad" if ":" in address else ""
            lines.append(f"addr replace {_host(address)} dev {self._interface}{extra}")
        if lines:
            # In one go, and the rest also where one is refused.
            await run("ip", "-force", "-batch", "-", stdin="\n".join(lines) + "\n")
        self._present = wanted

    async def close(self) -> None:
        self._present = set()
        with contextlib.suppress(CommandFailed):
            await run("ip", "link", "del", "dev", self._interface)


def _plain(address: str) -> str:
    return str(ip_address(address))


def _host(address: str) -> str:
    return f"{address}/128" if ":" in address else f"{address}/32"
