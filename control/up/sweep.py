"""The end of a cluster's containers. Agents leave them running when they stop; with `fluyt down` nobody will come back
for them for a while, and on a machine of one's own they should not go on.

Faults assumed: the runtime is gone, or somebody else removes containers meanwhile; then what is left is told.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Final

from control.up.plan import Node, Plan

log = logging.getLogger(__name__)

# Seconds that containers get between SIGTERM and SIGKILL.
_GRACE: Final = 3.0


def sweep(folder: Path, plan: Plan) -> list[str]:
    """End and remove every pod of the nodes; a line for each node where that did not go well."""
    nodes = [node for node in plan.nodes if (folder / node.name).exists()]
    return asyncio.run(_all(folder, plan, nodes)) if nodes else []


async def _all(folder: Path, plan: Plan, nodes: list[Node]) -> list[str]:
    # Loaded here: a cluster without nodes needs no agent.
    from node_agent.network.command import CommandFailed
    from node_agent.network.removal import clear_services

    ended = await asyncio.gather(*(_node(folder, plan, node) for node in nodes), return_exceptions=True)
    pairs = zip(nodes, ended, strict=True)
    try:
        await clear_services()
    except CommandFailed as problem:
        log.warning("the rules of Services: %s", problem)
    return [f"{node.name}: {problem}" for node, problem in pairs if isinstance(problem, Exception)]


async def _node(folder: Path, plan: Plan, node: Node) -> None:
    from node_agent.network.removal import LEDGER, remove_bridge
    from node_agent.pod.labels import NODE
    from node_agent.runtime.interface import Runtime
    from node_agent.runtimes import new_runtime

    async def pod(runtime: Runtime, sandbox: str) -> None:
        for container in await runtime.list_containers(sandbox):
            await runtime.stop_container(container.id, _GRACE)
        await runtime.stop_sandbox(sandbox)
        await runtime.remove_sandbox(sandbox)

    runtime = new_runtime(plan.runtime, plan.endpoint, folder / node.name, node.name)
    await runtime.open()
    try:
        found = await runtime.list_sandboxes({NODE: node.name})
        await asyncio.gather(*(pod(runtime, sandbox.id) for sandbox in found))
    finally:
        await runtime.close()
    if (folder / node.name / LEDGER).exists():
        await remove_bridge(folder / node.name, node.name)
