"""Leftovers are removed while pods come: what has become wanted meanwhile stays."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from agent_fake_api import FakeApi
from agent_one_node import new_agent

from node_agent.node.facts import Pressure
from node_agent.pod.config import NodeFacts
from node_agent.pod.network import ClusterDns
from node_agent.runtime.simulated import SimulatedRuntime, World
from node_agent.shell.housekeeping import Housekeeping
from node_agent.shell.pretended import NoSources
from node_agent.shell.view import Seen
from node_agent.volumes import scratch
from node_agent.volumes.keeper import VolumeKeeper


class Lookup(NoSources):
    async def find(self, resource: str, name: str, namespace: str) -> dict[str, Any] | None:
        return None


def test_a_pod_that_comes_while_leftovers_are_removed_keeps_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large leftover takes a while; the volumes, secrets and logs of pods that began in it were removed, too."""
    kept = [tmp_path / path for path in ("memory/uid-new/secret/s", "pods/uid-new/volumes", "logs/d_new_uid-new/web")]
    left = [tmp_path / path for path in ("pods/uid-old", "memory/uid-old", "logs/d_old_uid-old")]

    async def life() -> None:
        agent = new_agent(FakeApi(), SimulatedRuntime(World(), "n1"), log_root=str(tmp_path / "logs"))
        agent.heard = True
        facts = NodeFacts(name="n1", ips=(), memory=1, allocatable={}, dns=ClusterDns(), log_root="/logs")
        keeper = VolumeKeeper(tmp_path, Lookup(), dict, facts)
        remove = scratch.remove_tree

        def remove_slowly(folder: Path) -> None:
            if folder == left[0]:
                agent.view.seen["uid-new"] = Seen(name="new", namespace="d")
                for path in kept:
                    path.mkdir(parents=True)
            remove(folder)

        monkeypatch.setattr(scratch, "remove_tree", remove_slowly)
        for path in left:
            path.mkdir(parents=True)
        await Housekeeping(agent, keeper, list, lambda path, images: Pressure()).clean_folders()

    asyncio.run(life())
    assert [path for path in kept if not path.exists()] == []
    assert [path for path in left if path.exists()] == []
