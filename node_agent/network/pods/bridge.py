"""Pods on a bridge of the node: the runtime's Network (see runtime/interface.py).

    pod eth0 10.244.1.7/32 ── veth ── fl3c9a-<node> 10.244.1.1/24 ── the node's routes ── other nodes

Invariants: what the ledger says is written before the kernel is told, so that an agent that is killed in between finds
what to clean up; every command may be repeated; a host port that another cluster or program of the machine has is not
taken from it: the pod does not start, and its event says why (the rules of pods that run already leave it out until it
is free). Faults assumed: the agent is killed between any two commands; the
machine restarts (then the kernel has nothing, and the runtime gives back the addresses of its dead sandboxes).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from node_agent.network.command import CommandFailed, run
from node_agent.network.pods import commands, pod_table
from node_agent.network.pods.commands import Words
from node_agent.network.pods.leases import Network, NoAddress, gateway, lease, parse_ranges, release
from node_agent.network.pods.ledger import Ledger
from node_agent.network.pods.port_holder import holder
from node_agent.network.proxy.reservations import Port, PortReservations
from node_agent.network.ruleset import Table, change, whole
from node_agent.runtime.errors import CannotCreate
from node_agent.runtime.types import PortMapping, SandboxConfig

log = logging.getLogger(__name__)

_MTU = 1500


class PortTaken(Exception):
    """A host port is somebody else's; the text says whose."""


class BridgeNetwork:
    """name: of the bridge, unless the ledger has another; former: of one whose ledger says nothing of its name.

    open() before the runtime is.
    """

    def __init__(self, name: str, ledger: Path, mtu: int = _MTU, *, former: str = "") -> None:
        self._mtu = mtu
        self._ledger = Ledger(ledger)
        self._ledger.load()
        self.name = self._ledger.bridge or (former if self._ledger.ranges else "") or name
        self._ledger.bridge = self.name
        self._ranges: list[Network] = parse_ranges(self._ledger.ranges)
        self._cluster: frozenset[str] = frozenset()
        self._table: Table | None = None
        self._reserved = PortReservations()
        self._refused: dict[Port, str] = {}
        self._lock = asyncio.Lock()
        self.ready = False

    @property
    def gateways(self) -> list[str]:
        """The bridge's own addresses."""
        return [gateway(network) for network in self._ranges]

    @property
    def ranges(self) -> list[str]:
        return list(self._ledger.ranges)

    async def open(self, ranges: Sequence[str] = ()) -> None:
        """Make the bridge, with these ranges or those of last time. Raises CommandFailed, OSError, ValueError."""
        async with self._lock:
            if ranges and list(ranges) != self._ledger.ranges:
                self._ranges, self._ledger.ranges = parse_ranges(ranges), list(ranges)
                await asyncio.to_thread(self._ledger.save)
            if not self._ranges:
                return
            await _add_link(self.name, "bridge")
            await _ip(commands.bridge(self.name, self._ranges))
            await asyncio.to_thread(_settings, self.name)
            await self._rules()
            self.ready = True

    async def know(self, cluster: Iterable[str]) -> None:
        """The ranges of all nodes. Raises CommandFailed."""
        async with self._lock:
            known = frozenset(cluster)
            if known != self._cluster or self._refused:
                self._cluster = known
                await self._rules()

    async def _rules(self) -> None:
        if not self._ranges:
            return
        held = self._ledger.leases.held
        self._reserve()
        pods = {sandbox: (addresses, self._granted(sandbox)) for sandbox, addresses in held.items()}
        wanted = pod_table.build(self.name, self._ranges, self._cluster, pods)
        text = whole(wanted) if self._table is None else change(self._table, wanted)
        self._table = None
        if text:
            await run("nft", "-f", "-", stdin=text)
        self._table = wanted

    def _reserve(self) -> None:
        """Take what the sandboxes have of the machine's ports at the kernel."""
        ports = {_port(each) for mappings in self._ledger.ports.values() for each in mappings if _served(each)}
        before, self._refused = self._refused, self._reserved.hold(ports)
        for port in self._refused.keys() - before.keys():
            log.warning("host port %d/%s is not served: %s", port[1], port[0], self._refused[port])

    def _granted(self, sandbox: str) -> list[PortMapping]:
        return [each for each in self._ledger.ports.get(sandbox, ()) if _port(each) not in self._refused]

    # ---- runtime.interface.Network ----

    async def attach(self, sandbox_id: str, netns: str, config: SandboxConfig) -> tuple[str, ...]:
        """Raises CannotCreate."""
        if not self.ready:
            raise CannotCreate("the node has no range of addresses for pods yet (podCIDR)", "NetworkNotReady")
        try:
            async with self._lock:
                addresses = await self._lease(sandbox_id, config)
                await self._rules()
                taken = [each for each in config.port_mappings if _port(each) in self._refused]
            if taken:
                raise PortTaken(f"hostPort {await _whose(taken[0])}")
            await self._connect(sandbox_id, netns, addresses)
        except (CommandFailed, NoAddress, PortTaken, OSError) as problem:
            await self.detach(sandbox_id, netns)
            raise CannotCreate(f"network of pod {config.name}: {problem}", "FailedCreatePodSandBox") from problem
        return addresses

    async def _lease(self, sandbox_id: str, config: SandboxConfig) -> tuple[str, ...]:
        ledger = self._ledger
        ledger.leases = lease(ledger.leases, sandbox_id, self._ranges)
        if config.port_mappings:
            ledger.ports[sandbox_id] = config.port_mappings
        await asyncio.to_thread(ledger.save)
        return ledger.leases.held[sandbox_id]

    async def _connect(self, sandbox_id: str, netns: str, addresses: tuple[str, ...]) -> None:
        veth = commands.veth_of(sandbox_id)
        with contextlib.suppress(CommandFailed):
            await run("ip", "link", "del", "dev", veth)  # half of an attempt before
        await run("ip", "link", "add", "dev", veth, "type", "veth", "peer", "name", "eth0", "netns", netns)
        await _ip(commands.plug(sandbox_id, self.name, self._mtu))
        await _ip(commands.inside(self._ranges, addresses, self._mtu), within=netns)

    async def detach(self, sandbox_id: str, netns: str) -> None:
        """Never raises: what the kernel refuses is logged."""
        with contextlib.suppress(CommandFailed):
            await run("ip", "link", "del", "dev", commands.veth_of(sandbox_id))
        try:
            async with self._lock:
                await self._give_back([sandbox_id])
        except (CommandFailed, OSError) as problem:
            log.warning("the address of sandbox %s: %s", sandbox_id[:12], problem)

    async def _give_back(self, sandboxes: Iterable[str]) -> None:
        ledger = self._ledger
        known = [sandbox for sandbox in sandboxes if sandbox in ledger.leases.held]
        for sandbox in known:
            ledger.leases = release(ledger.leases, sandbox)
            ledger.ports.pop(sandbox, None)
        if known:
            await asyncio.to_thread(ledger.save)
            await self._rules()

    async def clean(self, sandboxes: Collection[str]) -> None:
        """Remove what belongs to none of these, the sandboxes that there are. Raises CommandFailed, OSError."""
        async with self._lock:
            await self._give_back([each for each in self._ledger.leases.held if each not in sandboxes])
            if not self.ready:
                return
            kept = {commands.veth_of(each) for each in sandboxes}
            shown = json.loads(await run("ip", "-j", "link", "show", "master", self.name) or "[]")
            left = [str(link["ifname"]) for link in shown if str(link["ifname"]).split("@")[0] not in kept]
            for name in left:
                log.info("removing the interface %s, whose pod is gone", name)
                with contextlib.suppress(CommandFailed):
                    await run("ip", "link", "del", "dev", name)

    async def remove(self) -> None:
        """Take down bridge and rules; the addresses of pods that still run stay theirs. Raises CommandFailed."""
        table = f"inet {pod_table.PREFIX}-{self.name}"
        await run("nft", "-f", "-", stdin=f"add table {table}\ndelete table {table}\n")
        with contextlib.suppress(CommandFailed):
            await run("ip", "link", "del", "dev", self.name)
        self._reserved.close()
        self.ready, self._table = False, None


def _served(mapping: PortMapping) -> bool:
    return mapping.protocol in ("TCP", "UDP")


def _port(mapping: PortMapping) -> Port:
    return mapping.protocol, mapping.host_port, mapping.host_ip


async def _whose(mapping: PortMapping) -> str:
    who = await holder(mapping.protocol, mapping.host_port)
    where = f"{mapping.host_ip}:" if mapping.host_ip else ""
    return f"{where}{mapping.host_port}/{mapping.protocol} is already in use on this machine by {who}"


async def _add_link(name: str, kind: str) -> None:
    try:
        await run("ip", "link", "add", "dev", name, "type", kind)
    except CommandFailed as problem:
        if "exists" not in str(problem):
            raise


async def _ip(lines: Sequence[Words], within: str = "") -> None:
    """All of them, in one process."""
    text = "".join(" ".join(words) + "\n" for words in lines)
    prefix = ("nsenter", f"--net={within}") if within else ()
    await run(*prefix, "ip", "-batch", "-", stdin=text)


def _settings(bridge: str) -> None:
    """Forwarding; Services of the machine's own loopback addresses; no advice to take a shorter way."""
    wanted = {
        "ipv4/ip_forward": "1",
        f"ipv4/conf/{bridge}/route_localnet": "1",
        f"ipv4/conf/{bridge}/send_redirects": "0",
        "ipv6/conf/all/forwarding": "1",
    }
    for name, value in wanted.items():
        path = Path("/proc/sys/net", name)
        try:
            if path.read_text().strip() != value:
                path.write_text(value)
        except OSError as problem:
            log.info("%s cannot be set: %s", path, problem.strerror)
