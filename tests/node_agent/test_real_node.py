"""A real node's start: what waits for its runtime."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest

from control.client.client import Client
from control.client.config import Config
from node_agent.network.settings import NetworkSettings
from node_agent.node.settings import NodeSettings
from node_agent.real_node import RealNode
from node_agent.runtime.types import Sandbox
from node_agent.settings import AgentSettings


def test_the_network_is_cleared_of_leftovers_when_the_runtime_says_which_pods_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restarted agent asked a runtime that was not open yet, heard of no pods, and cut all of them off."""

    async def run() -> None:
        settings = AgentSettings(
            node=NodeSettings(name="n1", ips=("127.0.0.1",)),
            root=tmp_path,
            runtime="simulated",
            network=NetworkSettings(proxy_mode="none", serve_dns=False, resolv_conf=""),
        )
        client = Client(Config(servers=("https://127.0.0.1:1",)))  # nobody is there
        node = RealNode(settings, client)
        may_open, asked, cleared = asyncio.Event(), asyncio.Event(), asyncio.Event()
        open_it = node.agent.parts.runtime.open

        async def slow_to_open() -> None:
            asked.set()
            await may_open.wait()
            await open_it()

        async def clean(sandboxes: Iterable[Sandbox]) -> None:
            cleared.set()

        monkeypatch.setattr(node.agent.parts.runtime, "open", slow_to_open)
        monkeypatch.setattr(node.network, "clean", clean)
        await node.start()
        try:
            await asyncio.wait_for(asked.wait(), 10)
            assert not cleared.is_set()
            may_open.set()
            await asyncio.wait_for(cleared.wait(), 10)
            assert node.agent.reached
        finally:
            await node.stop()
            await client.close()

    asyncio.run(run())
