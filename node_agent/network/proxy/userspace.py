"""The user-space proxy: a TCP or UDP forwarder for each place. For machines without nftables or root.

Without root a machine cannot be given the cluster's addresses; then there are node ports only, and `degraded` says so.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

from node_agent.network.proxy.addresses import ServiceAddresses
from node_agent.network.proxy.listeners import Place, Target, addresses, places
from node_agent.network.proxy.ports import Refusal, ServicePort
from node_agent.network.proxy.tcp import TcpForwarder
from node_agent.network.proxy.udp import UdpForwarder

log = logging.getLogger(__name__)

Forwarder = TcpForwarder | UdpForwarder


class UserSpaceProxy:
    """own: where the cluster's addresses are put; None: they cannot be. clear(): removes what an nftables proxy that
    was killed has left."""

    name = "userspace"

    def __init__(self, own: ServiceAddresses | None, clear: Callable[[], Awaitable[None]]) -> None:
        self._own, self._clear = own, clear
        self.forwarders: dict[Place, Forwarder] = {}
        self._refused: dict[Place, Refusal] = {}

    @property
    def refusals(self) -> list[Refusal]:
        """What cannot be served, and why."""
        return sorted(self._refused.values())

    async def open(self) -> None:
        """Raises CommandFailed when addresses cannot be added after all."""
        if self._own is not None:
            await self._clear()
            await self._own.open()

    async def apply(self, ports: Sequence[ServicePort]) -> None:
        """Listen exactly where these want it; a place that is taken by another program is logged and tried again."""
        wanted = places(ports, own_addresses=self._own is not None)
        for place in [place for place in self.forwarders if place not in wanted]:
            await self.forwarders.pop(place).stop()
        if self._own is not None:
            await self._own.set(addresses(wanted))
        self._refused = {place: each for place, each in self._refused.items() if place in wanted}
        for place, target in wanted.items():
            present = self.forwarders.get(place)
            if present is None:
                await self._listen(place, target)
            elif present.target != target:
                present.target = target

    async def _listen(self, place: Place, target: Target) -> None:
        made: Forwarder = (TcpForwarder if place.protocol == "TCP" else UdpForwarder)(place, target)
        try:
            await made.start()
        except OSError as problem:
            namespace, _, name = target.title.partition(":")[0].partition("/")
            self._refused[place] = Refusal(namespace, name, str(place), problem.strerror or str(problem))
            return
        self._refused.pop(place, None)
        self.forwarders[place] = made

    @property
    def incomplete(self) -> bool:
        """Whether some place could not be had."""
        return bool(self._refused)

    async def check(self) -> bool:
        """Whether what was applied still stands."""
        return not self._refused

    async def close(self) -> None:
        """Serve no more; open connections end with it."""
        for forwarder in self.forwarders.values():
            await forwarder.stop(connections=True)
        self.forwarders.clear()
        if self._own is not None:
            await self._own.close()
