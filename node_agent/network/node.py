"""The network of one node put together: view, names, Services. What fails is logged and tried again; the agent and its
containers go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

from control.client.client import Client
from control.client.config import Config
from node_agent.network.command import CommandFailed, program, run
from node_agent.network.dns.resolv_conf import parse, upstreams
from node_agent.network.dns.server import DnsServer
from node_agent.network.dns.upstream import Upstream
from node_agent.network.dns.zone import Zone
from node_agent.network.machine_lock import MachineLock, path_of
from node_agent.network.pods.bridge import BridgeNetwork
from node_agent.network.pods.keeper import PodNetwork
from node_agent.network.proxy import nftables
from node_agent.network.proxy.addresses import ServiceAddresses
from node_agent.network.proxy.endpoints import Backend, Here
from node_agent.network.proxy.leftovers import INTERFACE_PREFIX
from node_agent.network.proxy.ports import Refusal
from node_agent.network.proxy.proxy import ProxyBackend, ServiceProxy
from node_agent.network.proxy.userspace import UserSpaceProxy
from node_agent.network.removal import bridge_of
from node_agent.network.settings import cluster_id, dns_address, short
from node_agent.network.view import ClusterView
from node_agent.pod.network import ClusterDns
from node_agent.runtime.types import Dns, Sandbox, SandboxState
from node_agent.settings import AgentSettings

log = logging.getLogger(__name__)
Object = dict[str, Any]


class NodeNetwork:
    """start() before the agent, then stop()."""

    def __init__(
        self,
        settings: AgentSettings,
        client: Client,
        changed: Callable[[str], None],
        event: Callable[[Object, str, str], None],
    ) -> None:
        """changed(fault): what pods are to be told of names may be another; fault: why they can have no network.
        event(reference, reason, message): a warning about an object.
        """
        self._settings, self._client, self._told, self._event = settings, client, changed, event
        self.cluster = _cluster_of(client.config)
        self._addresses = ServiceAddresses(short(INTERFACE_PREFIX, self.cluster))
        self.view = ClusterView(client)
        self.machines_dns = _machines_dns(settings.network.resolv_conf)
        domain = settings.node.dns.domain
        self.dns = DnsServer(Zone(domain, self.view), Upstream(()), lambda: self.view.synced)
        self.proxy: ServiceProxy | None = None
        self.bridge: BridgeNetwork | None = None
        self._pods: PodNetwork | None = None
        if settings.network.bridge:
            node = settings.node
            self.bridge = bridge_of(settings.root, node.name)
            self._pods = PodNetwork(client, self.bridge, node.name, node.ips, changed, self._bridge_opened)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def pods_dns(self) -> ClusterDns:
        """What goes into resolv.conf of pods: the addresses that were named, else where this node answers."""
        given = self._settings.node.dns
        own = tuple(address for address, _ in self.dns.addresses[:1])
        return ClusterDns(given.servers or own, given.domain, self.machines_dns)

    async def start(self) -> None:
        """Answer names, and begin to serve Services; waits for no API server."""
        network = self._settings.network
        if self.bridge is not None and self._pods is not None:
            try:
                await self.bridge.open()
            except (CommandFailed, OSError) as problem:
                log.warning("the bridge of last time cannot be had: %s", problem)
            self._spawn(self._pods.run(), "network of the pods")
        if network.serve_dns:
            await self._serve_dns()
        if network.proxy_mode != "none":
            backend = await self._proxy_backend()
            lock = MachineLock(path_of("proxy", self.cluster))
            who = f"node {self._settings.node.name}, process {os.getpid()}"
            self.proxy = ServiceProxy(self.view, backend, lock, self._here, self._dns_backends, self._refused, who)
            self._spawn(self.proxy.run(), "service proxy")
        if network.serve_dns or self.proxy is not None:
            self._spawn(self.view.start(), "services and endpoints")

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.proxy is not None:
            await self.proxy.close()
        if self._pods is not None:
            await self._pods.stop()
        await self.dns.close()
        await self.view.stop()

    def _spawn(self, work: Coroutine[Any, Any, object], name: str) -> None:
        async def guarded() -> None:
            try:
                await work
            except Exception:
                log.exception("%s of node %s ended by a mistake", name, self._settings.node.name)

        self._tasks.append(asyncio.create_task(guarded(), name=name))

    # ---- names ----

    async def _serve_dns(self) -> None:
        await self._listen(*self._own_dns(), *self._settings.node.dns.servers)
        self._choose_upstream()

    def _own_dns(self) -> list[str]:
        """Pods on a bridge reach the bridge's addresses, those on the machine's network its loopback ones; those on
        the container runtime's network reach whatever --cluster-dns names.
        """
        if self.bridge is not None:
            return self.bridge.gateways if self.bridge.ready else []
        if self._settings.node.pod_network:
            return []
        return [dns_address(self.cluster, self._settings.node.name)]

    async def _bridge_opened(self) -> None:
        """Its addresses are there, maybe others than before."""
        if self._settings.network.serve_dns and self.bridge is not None:
            have = {address for address, _ in self.dns.addresses}
            await self._listen(*(address for address in self.bridge.gateways if address not in have))
            self._choose_upstream()
        if self.proxy is not None:
            self.proxy.changed()
        self._told("")

    async def _listen(self, *addresses: str) -> None:
        named = self._settings.node.dns.servers
        for address in dict.fromkeys(addresses):
            try:
                await self.dns.listen(address)
            except OSError as problem:
                # One that was named may well be another machine's, or the Service's.
                level = logging.INFO if address in named else logging.WARNING
                log.log(level, "the cluster's names are not answered at %s:53: %s", address, problem.strerror)

    def _choose_upstream(self) -> None:
        listening = {address for address, _ in self.dns.addresses}
        own = {*listening, *self._settings.node.dns.servers}
        self.dns.upstream = Upstream.of(upstreams(self.machines_dns, own))

    def _dns_backends(self) -> list[Backend]:
        return [Backend(address, port, True) for address, port in self.dns.addresses[:1]]

    # ---- services ----

    def _here(self) -> Here:
        node = self._settings.node
        if self._pods is None:
            return Here({node.name}, {*node.ips})
        return Here(self._pods.nodes_here, {*node.ips}, self._pods.ranges_here)

    async def _proxy_backend(self) -> ProxyBackend:
        mode = self._settings.network.proxy_mode
        if mode != "userspace":
            obstacle = await nftables.why_not()
            if not obstacle or mode == "nftables":
                return nftables.NftablesProxy(self.cluster, self._addresses.close)
            log.info("Services are forwarded in user space, nftables cannot be used: %s", obstacle)
        return UserSpaceProxy(await self._own_addresses(), self._no_table)

    async def _own_addresses(self) -> ServiceAddresses | None:
        if os.geteuid() == 0 and program("ip"):
            with contextlib.suppress(CommandFailed):
                await run("ip", "link", "show")
                return self._addresses
        log.warning("without root there are no cluster IPs on this machine, only node ports")
        return None

    async def _no_table(self) -> None:
        if program("nft"):
            with contextlib.suppress(CommandFailed):
                await nftables.remove_table(self.cluster)

    def _refused(self, place: Refusal) -> None:
        """A port of this machine that a Service should have and somebody else has."""
        service = self.view.service(place.namespace, place.service) or {"metadata": {}}
        about = {"apiVersion": "v1", "kind": "Service", "namespace": place.namespace, "name": place.service}
        node = self._settings.node.name
        message = (
            f"Port {place.place} of node {node} cannot be had ({place.why}): another cluster or program of the machine "
            f"has it. The Service is not served there until it is free; or choose another port."
        )
        self._event({**about, "uid": service["metadata"].get("uid", "")}, "FailedToOpenPort", message)

    # ---- pods ----

    async def clean(self, sandboxes: Iterable[Sandbox]) -> None:
        """Take back what belongs to pods that are gone. sandboxes: all that the runtime knows."""
        if self.bridge is None:
            return
        try:
            await self.bridge.clean({each.id for each in sandboxes if each.state is SandboxState.READY})
        except (CommandFailed, OSError) as problem:
            log.warning("leftovers of the pods' network: %s", problem)


def _cluster_of(config: Config) -> str:
    authority = config.ca
    content = authority.read_bytes() if isinstance(authority, Path) else authority
    return cluster_id(content or b"", tuple(config.servers))


def _machines_dns(path: str) -> Dns:
    if not path:
        return Dns()
    try:
        return parse(Path(path).read_text(errors="replace"))
    except OSError as problem:
        log.warning("%s cannot be read: %s", path, problem.strerror)
        return Dns()
