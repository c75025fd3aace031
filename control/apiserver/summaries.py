"""The agents' figures of what nodes and pods use, each asked for at most once in some seconds."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from control.api.schema import Object
from control.api.status import StatusError
from control.apiserver.agents import Agents, place_of

FRESH_SECONDS: Final = 10.0
AGENT_SECONDS: Final = 4.0


class Summaries:
    """The agents' last summaries, by node."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[float, asyncio.Task[Any]]] = {}

    async def of(self, agents: Agents, node: Object) -> Any:
        """The node's summary, None when its agent does not answer."""
        name, now = node["metadata"]["name"], time.monotonic()
        asked, task = self._found.get(name, (0.0, None))
        if task is None or now - asked > FRESH_SECONDS:
            task = asyncio.create_task(_ask(agents, node))
            self._found[name] = (now, task)
        return await asyncio.shield(task)

    def keep_only(self, names: set[str]) -> None:
        """Forget nodes that are no more."""
        for name in [name for name in self._found if name not in names]:
            del self._found[name]


async def _ask(agents: Agents, node: Object) -> Any:
    try:
        found = await agents.get_json(place_of(node), "/stats/summary", AGENT_SECONDS)
    except StatusError:
        return None
    return found if isinstance(found, dict) else None
