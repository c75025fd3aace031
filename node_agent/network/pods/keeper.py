"""Keeps the node's bridge and its routes to other nodes' pods in step with the Nodes of the cluster.

Fault assumed: the node has no podCIDR (controllers run without --cluster-cidr): then it is not ready, and says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from control.client.informer import Informer, Source
from node_agent.network.command import CommandFailed, run
from node_agent.network.pods.bridge import BridgeNetwork
from node_agent.network.pods.commands import ROUTE_PROTOCOL, Route, node_ips, ranges_of, routes

log = logging.getLogger(__name__)
Object = dict[str, Any]

_GATHER: Final = 0.1
_CHECK: Final = 60.0
_RETRY: Final = 2.0
NO_RANGE: Final = (
    "network plugin is not ready: the node has no podCIDR; start the controllers with --cluster-cidr=10.244.0.0/16"
)


class PodNetwork:
    """fault(why): the node is not ready because of it, "" when it is. opened(): the bridge has its addresses, or other
    nodes and ranges are this machine's now.
    """

    def __init__(
        self,
        client: Source,
        bridge: BridgeNetwork,
        node: str,
        ips: Sequence[str],
        fault: Callable[[str], None],
        opened: Callable[[], Any],
    ) -> None:
        self._nodes = Informer(client, "nodes", transform=_slim)
        self._bridge, self._node, self._ips, self._fault, self._opened = bridge, node, ips, fault, opened
        self._changed = asyncio.Event()
        self._routes: set[Route] = set()
        self.nodes_here = frozenset({node})
        self.ranges_here: frozenset[str] = frozenset()

    async def run(self) -> None:
        """For ever."""
        if not self._bridge.ready:
            self._fault(NO_RANGE)
        await self._nodes.start()
        self._nodes.subscribe(lambda old, new: self._changed.set())
        while True:
            self._changed.clear()
            pause = await self._round()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._changed.wait()
                    await asyncio.sleep(_GATHER)

    async def _round(self) -> float:
        nodes = list(self._nodes.objects.values())
        try:
            await self._own(nodes)
            await self._others(nodes)
        except (CommandFailed, OSError, ValueError) as problem:
            log.warning("the pods' network: %s", problem)
            if not self._bridge.ready:
                self._fault(f"network plugin is not ready: {problem}")
            return _RETRY
        return _CHECK

    async def _own(self, nodes: list[Object]) -> None:
        own = self._nodes.get(self._node)
        ranges = ranges_of(own) if own is not None else []
        changed = self._look_around(nodes)
        if ranges and (not self._bridge.ready or ranges != self._bridge.ranges):
            await self._bridge.open(ranges)
            changed = True
        if self._bridge.ready:
            if changed:
                await self._opened()
            self._fault("")
        await self._bridge.know([text for node in nodes for text in ranges_of(node)])

    def _look_around(self, nodes: list[Object]) -> bool:
        """Which nodes this machine is, and the ranges of their pods; whether that is news."""
        before = self.nodes_here, self.ranges_here
        here = [n for n in nodes if n["metadata"]["name"] == self._node or set(self._ips).intersection(node_ips(n))]
        self.nodes_here = frozenset({self._node, *(n["metadata"]["name"] for n in here)})
        self.ranges_here = frozenset(text for n in here for text in ranges_of(n))
        return before != (self.nodes_here, self.ranges_here)

    async def _others(self, nodes: list[Object]) -> None:
        wanted = routes(nodes, self._node, self._ips)
        present = await _present()
        for route in sorted(wanted - present):
            await run("ip", *route.words)
        for route in sorted((self._routes - wanted) & present):
            if route.to not in {other.to for other in wanted}:
                await run("ip", "route", "del", route.to, "via", route.via, "proto", ROUTE_PROTOCOL)
        self._routes = wanted

    async def stop(self) -> None:
        """After run() was cancelled; bridge and routes stay, as the pods do."""
        await self._nodes.stop()


async def _present() -> set[Route]:
    found = set()
    for family in ("-4", "-6"):
        shown = json.loads(await run("ip", "-j", family, "route", "show", "proto", ROUTE_PROTOCOL) or "[]")
        found |= {Route(str(each["dst"]), str(each.get("gateway", ""))) for each in shown}
    return found


def _slim(node: Object) -> Object:
    """A node's status is long, and all nodes have all of them."""
    metadata = {key: node["metadata"].get(key) for key in ("name", "resourceVersion", "uid")}
    status = {"addresses": (node.get("status") or {}).get("addresses") or []}
    return {
        **{k: node[k] for k in ("apiVersion", "kind") if k in node},
        "metadata": metadata,
        "spec": node.get("spec") or {},
        "status": status,
    }
