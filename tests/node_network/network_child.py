"""A node's network in a process of its own, told what is in the cluster by lines of JSON on standard input.

{"resource": "services", "objects": […]}       all of that resource from now on
{"attach": "sandbox", "netns": "/run/netns/x"}  answered by a line with the addresses, or {"refused": why}
{"detach": "sandbox"}                           answered by a line, too

Events about objects are lines, too: {"event": reason, "about": name, "message": text}. Arguments: the node's name and
address, its folder, the proxy's mode, and, where there are several clusters, the URL that tells its one; then pods have
no bridge.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from control.client.bodies import WatchEvent
from control.client.config import Config
from node_agent.network.node import NodeNetwork
from node_agent.network.settings import NetworkSettings
from node_agent.node.settings import NodeSettings
from node_agent.runtime.errors import CannotCreate
from node_agent.runtime.types import PortMapping, SandboxConfig
from node_agent.settings import AgentSettings

Object = dict[str, Any]


class Told:
    """The API server as far as informers see it."""

    def __init__(self, server: str) -> None:
        self.config = Config(servers=(server,))
        self.objects: dict[str, dict[tuple[str, str], Object]] = {}
        self.queues: dict[str, asyncio.Queue[WatchEvent]] = {}
        self.revision = 1

    def replace(self, resource: str, objects: list[Object]) -> None:
        known = self.objects.setdefault(resource, {})
        wanted = {(o["metadata"].get("namespace", ""), o["metadata"]["name"]): o for o in objects}
        for key in known.keys() | wanted.keys():
            if known.get(key) != wanted.get(key):
                self.revision += 1
                obj = json.loads(json.dumps(wanted.get(key) or known[key]))
                obj["metadata"]["resourceVersion"] = str(self.revision)
                what = "DELETED" if key not in wanted else "MODIFIED" if key in known else "ADDED"
                self.queue(resource).put_nowait(WatchEvent(what, obj))
        self.objects[resource] = wanted

    def queue(self, resource: str) -> asyncio.Queue[WatchEvent]:
        return self.queues.setdefault(resource, asyncio.Queue())

    async def list(self, resource: str, namespace: str = "", **options: Any) -> Object:
        return {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "1"}, "items": []}

    async def watch(self, resource: str, namespace: str = "", **options: Any) -> AsyncIterator[WatchEvent]:
        while True:
            yield await self.queue(resource).get()


def say(**line: Any) -> None:
    print(json.dumps(line), flush=True)


async def main(name: str, ip: str, root: str, mode: str, server: str = "") -> None:
    told, ended, loop = Told(server or "https://192.0.2.99"), asyncio.Event(), asyncio.get_running_loop()
    settings = AgentSettings(
        node=NodeSettings(name=name, ips=(ip,)),
        root=Path(root),
        network=NetworkSettings(proxy_mode=mode, bridge=not server, resolv_conf=""),
    )
    network = NodeNetwork(
        settings,
        told,  # type: ignore[arg-type]
        lambda fault: say(fault=fault),
        lambda about, reason, message: say(event=reason, about=about["name"], message=message),
    )
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    reader = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await network.start()
    listening = asyncio.create_task(listen(told, network, reader))
    await ended.wait()
    listening.cancel()
    await network.stop()


async def listen(told: Told, network: NodeNetwork, reader: asyncio.StreamReader) -> None:
    async for line in reader:
        order = json.loads(line)
        if "resource" in order:
            told.replace(order["resource"], order["objects"])
            continue
        assert network.bridge is not None
        if "detach" in order:
            await network.bridge.detach(order["detach"], "")
            say(detached=True)
            continue
        ports = tuple(PortMapping(8080, port) for port in order.get("host_ports") or ())
        config = SandboxConfig("pod", "default", "uid", host_network=False, port_mappings=ports)
        try:
            given = await network.bridge.attach(order["attach"], order["netns"], config)
        except CannotCreate as refusal:
            say(refused=str(refusal), reason=refusal.reason)
        else:
            say(addresses=given)


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr, level=logging.INFO)
    asyncio.run(main(*sys.argv[1:]))
