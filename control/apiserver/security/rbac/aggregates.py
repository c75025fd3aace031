"""Keeps `rules` of aggregated ClusterRoles what their parts say, as a controller of Kubernetes does, at every change.

Decisions do not wait for it: they are made from the parts. Every server does it; all write the same.
"""

from __future__ import annotations

import asyncio
import logging

from control.api.schema import Object
from control.api.status import StatusError
from control.apiserver.request import Objects
from control.apiserver.security.rbac.index import RbacIndex
from control.apiserver.security.rbac.reconcile import write_aggregates

log = logging.getLogger(__name__)
# Changes come in bursts (kubectl apply of many roles).
_PAUSE = 0.2


class AggregateWriter:
    """One task at a time, started by a change."""

    def __init__(self, index: RbacIndex, objects: Objects) -> None:
        self._index = index
        self._objects = objects
        self._task: asyncio.Task[None] | None = None

    def role_changed(self, old: Object | None, new: Object | None) -> None:
        """A ClusterRole came, changed or went; called on the loop."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        done = -1
        while done != self._index.generation:
            await asyncio.sleep(_PAUSE)
            done = self._index.generation
            try:
                await write_aggregates(self._index, self._objects)
            except StatusError as problem:
                log.warning("aggregated roles were not written: %s", problem.message)
