"""All controllers of one process: warm while another leads, at work while we do, silent the moment the term is over.

Invariants: nothing is written outside a term; every write of a term carries its fence; when a term ends, all workers of
that term have ended before the next begins. Faults assumed: the process is paused at any point (the fence refuses what
it writes afterwards), the store or the API servers are away for any time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from prometheus_client import CollectorRegistry

from control.api.schema import Object
from control.client.client import Client
from control.controllers.running.executor import Executor
from control.controllers.running.informers import Informers
from control.controllers.running.metrics import Metrics
from control.controllers.running.shell import Shell
from control.controllers.values.actions import Event
from control.controllers.values.controller import EVERYTHING, Controller
from control.elected.process import Term
from control.elected.term_end import explain

log = logging.getLogger(__name__)

# Requests under way at a time, of all controllers together.
MOST_WRITES: Final = 64


class Manager:
    """start() once, then run() with the terms of an elector, or serve() one term; close() at the end."""

    def __init__(
        self,
        client: Client,
        controllers: Sequence[Controller],
        recorder: Callable[[str], Callable[[Event], None]],
        metrics: Metrics | None = None,
    ) -> None:
        """recorder: makes, for a controller's name, the function that records its events.

        Events are news, not state: they need no fence, and what a term leaves unsent may be told after it.
        """
        self.metrics = metrics or Metrics()
        self.informers = Informers(client)
        self._client = client
        self._controllers = controllers
        self._recorder = recorder
        self._shells: list[Shell] = []
        self.started = asyncio.Event()

    @property
    def registry(self) -> CollectorRegistry:
        """What is counted."""
        return self.metrics.registry

    @property
    def leads(self) -> bool:
        """Whether this process is at work now."""
        return bool(self._shells)

    async def start(self) -> None:
        """Begin to observe; returns when the view is complete."""
        everything = any(EVERYTHING in controller.wakes for controller in self._controllers)
        needed = {resource for controller in self._controllers for resource in controller.resources}
        self.informers.subscribe(self._changed)
        await self.informers.start(needed, everything=everything)
        self.started.set()

    async def run(self, terms: AsyncIterator[Term]) -> None:
        """Work in every term that comes, until cancelled. The terms' iterator is closed at the end."""
        async with contextlib.aclosing(terms) as elected:  # type: ignore[type-var]
            async for term in elected:
                await self.serve(term)

    async def serve(self, term: Term) -> None:
        """Work until the term is over."""
        client = self._client.fenced(term.fence) if term.fence is not None else self._client
        work = asyncio.create_task(self._work(client), name="controllers")
        over = asyncio.create_task(term.lost.wait(), name="term")
        log.info("controllers: at work (%s)", term.fence.header() if term.fence is not None else "without election")
        self.metrics.leader.labels("controllers").set(1)
        try:
            await asyncio.wait({work, over}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.metrics.leader.labels("controllers").set(0)
            work.cancel()
            over.cancel()
            results = await asyncio.gather(work, over, return_exceptions=True)
        explain(results[0], "controllers")

    async def _work(self, client: Client) -> None:
        room = asyncio.Semaphore(MOST_WRITES)
        shells = [self._shell(controller, client, room) for controller in self._controllers]
        self._shells = shells
        try:
            async with asyncio.TaskGroup() as group:
                for shell in shells:
                    group.create_task(shell.run(), name=shell.controller.name)
        finally:
            self._shells = []

    def _shell(self, controller: Controller, client: Client, room: asyncio.Semaphore) -> Shell:
        tell = self._recorder(controller.name)
        return Shell(controller, self.informers, Executor(client, tell, room), tell, self.metrics)

    def _changed(self, resource: str, old: Object | None, new: Object | None) -> None:
        for shell in self._shells:
            shell.changed(resource, old, new)

    async def close(self) -> None:
        await self.informers.stop()
