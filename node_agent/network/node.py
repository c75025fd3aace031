"""The network of one node put together: view, names, Services. What fails is logged and tried again; the agent and its
containers go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Coroutine
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
from node_agent.network.proxy import nftables
from node_agent.network.proxy.addresses import ServiceAddresses
from node_agent.network.proxy.endpoints import Backend, Here
from node_agent.network.proxy.proxy import ProxyBackend, ServiceProxy
from node_agent.network.proxy.userspace import UserSpaceProxy
from node_agent.network.settings import cluster_id, dns_address, short
from node_agent.network.view import ClusterView
from node_agent.pod.network import ClusterDns
from node_agent.runtime.types import Dns
from node_agent.settings import AgentSettings

log = logging.getLogger(__name__)


class NodeNetwork:
    """start() before the agent, then stop()."""

    def __init__(self, settings: AgentSettings, client: Client) -> None:
        self._settings, self._client = settings, client
        self.cluster = _cluster_of(client.config)
        self.view = ClusterView(client)
        self.machines_dns = _machines_dns(settings.network.resolv_conf)
        domain = settings.node.dns.domain
        self.dns = DnsServer(Zone(domain, self.view), Upstream(()), lambda: self.view.synced)
        self.proxy: ServiceProxy | None = None
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
        if network.serve_dns:
            await self._serve_dns()
        if network.proxy_mode != "none":
            backend = await self._proxy_backend()
            lock = MachineLock(path_of("proxy", self.cluster))
            who = f"node {self._settings.node.name}, process {os.getpid()}"
            self.proxy = ServiceProxy(self.view, backend, lock, self._here, self._dns_backends, who)
            self._spawn(self.proxy.run(), "service proxy")
        if network.serve_dns or self.proxy is not None:
            self._spawn(self.view.start(), "services and endpoints")

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.proxy is not None:
            await self.proxy.close()
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
        named = self._settings.node.dns.servers
        own = dns_address(self.cluster, self._settings.node.name)
        for address in dict.fromkeys((own, *named)):
            try:
                await self.dns.listen(address)
            except OSError as problem:
                # One that was named may well be another machine's, or the Service's.
                level = logging.INFO if address in named else logging.WARNING
                log.log(level, "the cluster's names are not answered at %s:53: %s", address, problem.strerror)
        listening = {address for address, _ in self.dns.addresses}
        self.dns.upstream = Upstream.of(upstreams(self.machines_dns, {*listening, *named}))

    def _dns_backends(self) -> list[Backend]:
        return [Backend(address, port, True) for address, port in self.dns.addresses[:1]]

    # ---- services ----

    def _here(self) -> Here:
        node = self._settings.node
        return Here({node.name}, {*node.ips})

    async def _proxy_backend(self) -> ProxyBackend:
        mode = self._settings.network.proxy_mode
        if mode != "userspace":
            obstacle = await nftables.why_not()
            if not obstacle or mode == "nftables":
                return nftables.NftablesProxy(self.cluster)
            log.info("Services are forwarded in user space, nftables cannot be used: %s", obstacle)
        return UserSpaceProxy(await self._own_addresses())

    async def _own_addresses(self) -> ServiceAddresses | None:
        if os.geteuid() == 0 and program("ip"):
            made = ServiceAddresses(short("fluyt-", self.cluster))
            with contextlib.suppress(CommandFailed):
                await run("ip", "link", "show")
                return made
        log.warning("without root there are no cluster IPs on this machine, only node ports")
        return None


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
