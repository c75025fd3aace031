"""A node whose heartbeats were not heard is said to be Unknown by others; it says otherwise as soon as it can."""

from __future__ import annotations

import asyncio
from copy import deepcopy
from typing import Any

from node_agent.node.facts import Machine
from node_agent.node.settings import NodeSettings
from node_agent.node.status import Situation
from node_agent.shell.registration import Registration

Object = dict[str, Any]


class Nodes:
    """One node, and what was written to it."""

    def __init__(self) -> None:
        self.node: Object = {}
        self.writes = 0

    async def get(self, resource: str, name: str, namespace: str = "", *, resource_version: str = "") -> Object:
        return deepcopy(self.node)

    async def create(self, resource: str, obj: Object, *, namespace: str = "") -> Object:
        if resource == "nodes":
            self.node = deepcopy(obj)
        return deepcopy(obj)

    async def update(self, resource: str, obj: Object) -> Object:
        return deepcopy(obj)

    async def patch(self, resource: str, name: str, patch: Any, **options: Any) -> Object:
        self.writes += 1
        self.node = {**self.node, "status": {**self.node.get("status", {}), **patch.get("status", {})}}
        return deepcopy(self.node)

    def ready(self) -> str:
        return next(str(c["status"]) for c in self.node["status"]["conditions"] if c["type"] == "Ready")


def test_a_node_that_others_called_unknown_says_how_it_is() -> None:
    async def scenario() -> None:
        nodes, now = Nodes(), [1_000_000.0]
        settings = NodeSettings(name="n", ips=("10.0.0.1",))
        node = Registration(nodes, settings, Machine(cpu=1000, memory=1 << 30), Situation, lambda: now[0])
        await node.register_once()
        assert nodes.ready() == "True"
        before = nodes.writes
        now[0] += 10
        await node.report_if_due()
        assert nodes.writes == before
        for condition in nodes.node["status"]["conditions"]:
            condition["status"] = "Unknown"
        now[0] += 10
        await node.report_if_due()
        assert nodes.ready() == "True"
        assert nodes.writes == before + 1

    asyncio.run(scenario())
