"""The agent's process: client, node or nodes, server; until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import logging
import signal
from dataclasses import replace
from pathlib import Path

from control.client import kubeconfig
from control.client.client import Client
from node_agent.real_node import RealNode
from node_agent.server.app import AgentServer, new_app, server_tls
from node_agent.server.certificate import own_certificate
from node_agent.server.directory import Directory
from node_agent.settings import AgentSettings
from node_agent.simulated_nodes import SimulatedNodes

_LOOK_AT_CERTIFICATE = 60.0
_LOOPBACK = "127.0.0.1"

log = logging.getLogger(__name__)


class AgentProcess:
    """start(), then stop()."""

    def __init__(self, settings: AgentSettings) -> None:
        """Raises ConfigError (kubeconfig), OSError, ValueError (certificates)."""
        self._settings = settings
        self.config = kubeconfig.load(settings.kubeconfig or None)
        self._client = Client(self.config)
        self._directory = Directory([])
        # Without an authority nobody can show who they are: then the server tells only that it is alive.
        self._pair = self._certificate()
        self._tls = server_tls(*self._pair, self._client_ca())
        self.server = AgentServer(new_app(self._directory, guarded=True), self._tls)
        self._renewal: asyncio.Task[None] | None = None
        self.nodes: RealNode | SimulatedNodes | None = None

    def _certificate(self) -> tuple[str, str]:
        """Paths of the server's certificate and its key."""
        settings = self._settings
        if settings.tls_cert:
            return settings.tls_cert, settings.tls_key
        names = [settings.node.name, *settings.node.ips, "localhost", "127.0.0.1"]
        return own_certificate(settings.root / "pki", settings.node.name, names)

    async def _renew_for_ever(self) -> None:
        """Take up a certificate that was renewed; connections that are open keep theirs."""
        known = _changed_at(self._pair)
        while True:
            await asyncio.sleep(_LOOK_AT_CERTIFICATE)
            now = _changed_at(self._pair)
            if now != known:
                try:
                    self._tls.load_cert_chain(*self._pair)
                    known = now
                except (OSError, ValueError) as problem:
                    log.warning("the renewed certificate cannot be used yet: %s", problem)

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
        self._renewal = asyncio.create_task(self._renew_for_ever(), name="certificate")
        log.info("node %s runs; its server listens on port %d", settings.node.name, self.server.port)

    async def stop(self) -> None:
        """Containers go on."""
        if self._renewal is not None:
            self._renewal.cancel()
        await self.server.close()
        if self.nodes is not None:
            await self.nodes.stop()
        await self._client.close()


def _changed_at(pair: tuple[str, str]) -> list[float]:
    """When the files were last written; 0.0 for one that is not there."""
    return [Path(path).stat().st_mtime if Path(path).exists() else 0.0 for path in pair]


async def run(settings: AgentSettings) -> None:
    """Until SIGTERM or SIGINT. Raises ConfigError, ValueError, OSError."""
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
