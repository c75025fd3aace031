"""Lifecycle hooks: postStart and preStop, by command, HTTP, TCP or sleep."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from node_agent.pod import spec
from node_agent.pod.spec import Object
from node_agent.probes.handlers import Target
from node_agent.probes.prober import Runner

# A postStart hook has no limit in Kubernetes; this one keeps a hook that hangs from holding its pod for ever.
_LONGEST: Final = 3600.0
_HTTP_LIMIT: Final = 30.0


class LifecycleHooks:
    """address(uid): where the pod is reached."""

    def __init__(self, runner: Runner, address: Callable[[str], str]) -> None:
        self._runner, self._address = runner, address

    async def run(self, pod: Object, container: Object, container_id: str, hook: str, timeout: float) -> str:
        """hook: "postStart" or "preStop"; timeout: seconds, 0 for none. "" when it worked, else why not."""
        handler = (container.get("lifecycle") or {}).get(hook) or {}
        limit = timeout or _LONGEST
        if handler.get("sleep") is not None:
            await asyncio.sleep(min(float(handler["sleep"].get("seconds") or 0), limit))
            return ""
        target = Target(pod, container, container_id, self._address(spec.uid(pod)))
        if handler.get("httpGet") is not None:
            limit = min(limit, _HTTP_LIMIT)
        outcome = await self._runner.run(target, handler, limit)
        return "" if outcome.ok else outcome.message
