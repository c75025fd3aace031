"""Probes and hooks of simulated containers: whatever they ask, the container's simulated behaviour answers."""

from __future__ import annotations

from node_agent.pod.spec import Object
from node_agent.probes.handlers import Outcome, Target
from node_agent.runtime.errors import RuntimeFault
from node_agent.runtime.interface import Runtime


class PretendedHandlers:
    """HTTP, TCP and gRPC have nothing to talk to: all of them become a command that the simulated runtime answers."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def run(self, target: Target, handler: Object, timeout: float) -> Outcome:
        command = list((handler.get("exec") or {}).get("command") or ["probe"])
        try:
            result = await self._runtime.exec_sync(target.container_id, command, timeout)
        except RuntimeFault as problem:
            return Outcome(False, str(problem), error=True)
        return Outcome(result.exit_code == 0, f"simulated exit code {result.exit_code}")
