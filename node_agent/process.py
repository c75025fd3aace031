"""The agent's process: client, node or nodes, server; until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import logging
import resource
import signal
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from control.client import collector, kubeconfig
from control.client.client import Client
from kvstore.pki.certificates import Pair
from node_agent import certificates
from node_agent.certificates import Rotation
from node_agent.real_node import RealNode
from node_agent.server.app import AgentServer, new_app
from node_agent.server.directory import Directory
from node_agent.server.serving import Serving
from node_agent.settings import AgentSettings
from node_agent.simulated_nodes import SimulatedNodes

_LOOPBACK = "127.0.0.1"

log = logging.getLogger(__name__)


class AgentProcess:
    """start(), then stop()."""

    def __init__(self, settings: AgentSettings) -> None:
        """Raises ConfigError (kubeconfig), OSError, ValueError (certificates)."""
        self._settings = settings
        self.config = config = kubeconfig.load(settings.kubeconfig or None)
        folder = settings.root / "pki"
        self._login: Pair | None = None
        if settings.rotate_client and not settings.simulated_nodes:
            self.config, self._login = certificates.login(config, folder / "client.pem")
        self._client = Client(self.config)
        self._directory = Directory([])
        names = [settings.node.name, *settings.node.ips, "localhost", "127.0.0.1"]
        # Without an authority nobody can show who they are: then the server tells only that it is alive.
        self._serving = Serving(folder, (settings.tls_cert, settings.tls_key), names, self._client_ca())
        self.server = AgentServer(new_app(self._directory, guarded=True), self._serving.tls)
        self._renewals: list[asyncio.Task[None]] = []
        self.nodes: RealNode | SimulatedNodes | None = None

    def _renewing(self) -> Iterator[Coroutine[Any, Any, None]]:
        """What keeps the node's certificates alive."""
        yield self._serving.follow()
        folder, client = self._settings.root / "pki", self._client
        if self._login is not None:
            yield Rotation(client, certificates.CLIENT, folder / "client.pem", self._login, self._log_in).run()
        shown = self._serving.pair() if self._settings.rotate_server else None
        if shown is not None:
            yield Rotation(client, certificates.SERVER, self._serving.renewed, shown, self._serving.use).run()

    def _log_in(self, pair: Pair) -> None:
        self._client.transport.use(certificates.logged_in(self.config, pair))

    def _client_ca(self) -> str:
        """Whom the server trusts, as PEM: the authority that was named, else the one of the kubeconfig."""
        if self._settings.client_ca:
            return Path(self._settings.client_ca).read_text(encoding="ascii")
        authority = self.config.ca
        if isinstance(authority, Path):
            return authority.read_text(encoding="ascii")
        return authority.decode("ascii") if authority else ""

    async def start(self) -> None:
        """Raises OSError: the port, a folder; ValueError: no such runtime."""
        settings = self._settings
        if settings.simulated_nodes and settings.address == _LOOPBACK:
            await self.server.start_on_loopback(settings.node.port)
        else:
            await self.server.start(settings.address, settings.node.port)
        settings = replace(settings, node=replace(settings.node, port=self.server.port))
        if settings.simulated_nodes:
            self.nodes = nodes = SimulatedNodes(settings, self._client)
            self._directory.agents.extend(nodes.agents)
        else:
            self.nodes = node = RealNode(settings, self._client)
            self._directory.agents.append(node.agent)
        await self.nodes.start()
        self._renewals = [asyncio.create_task(work, name="certificates") for work in self._renewing()]
        collector.settle()
        log.info("node %s runs; its server listens on port %d", settings.node.name, self.server.port)

    async def stop(self) -> None:
        """Containers go on."""
        for renewal in self._renewals:
            renewal.cancel()
        await self.server.close()
        if self.nodes is not None:
            await self.nodes.stop()
        await self._client.close()


def _take_descriptors() -> None:
    """Every container that runs holds one, every watch and stream as well; most systems give 1,024 unasked."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def run(settings: AgentSettings) -> None:
    """Until SIGTERM or SIGINT. Raises ConfigError, ValueError, OSError."""
    _take_descriptors()
    process = AgentProcess(settings)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    starting = asyncio.create_task(process.start())
    ending = asyncio.create_task(ended.wait())
    try:
        await asyncio.wait({starting, ending}, return_when=asyncio.FIRST_COMPLETED)
        if not ended.is_set():
            await starting
            await ending
    finally:
        ending.cancel()
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await process.stop()
