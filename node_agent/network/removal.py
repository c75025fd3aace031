"""What is left of a node's network when its agent has ended for good: taken away, without loading what an agent needs.

Faults assumed: the agent was killed; the rules and interfaces are gone already (the machine was restarted).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from node_agent.network.pods.bridge import BridgeNetwork
from node_agent.network.proxy.leftovers import remove_leftovers
from node_agent.network.settings import bridge_name, short

LEDGER: Final = "network.json"


def bridge_of(root: Path, node: str) -> BridgeNetwork:
    """root: the agent's folder; nodes of several clusters on a machine may have the same name, but not the same one."""
    name, former = bridge_name(str(root.absolute()), node), short("fluyt0-", node)
    return BridgeNetwork(name, root / LEDGER, former=former)


async def clear_services() -> None:
    """Remove the Services of agents that were killed and are not there any more. Raises CommandFailed."""
    if os.geteuid() == 0:
        await remove_leftovers()


async def remove_bridge(root: Path, node: str) -> None:
    """When the node's pods are gone for good. Raises CommandFailed, OSError."""
    bridge = bridge_of(root, node)
    await bridge.clean(())
    await bridge.remove()
