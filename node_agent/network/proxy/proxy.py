"""The node's service proxy: follows Services and EndpointSlices, decides (ports.py), has a backend make it so.

Invariants: one agent of a machine serves a cluster's Services, the others wait for its end; what is applied is always
the whole state, so a missed or failed round is made good by the next. Faults assumed: the backend refuses (a port is
taken, the kernel lacks something, somebody flushed our rules): it is logged once and tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from node_agent.network.command import CommandFailed
from node_agent.network.machine_lock import MachineLock
from node_agent.network.proxy.endpoints import Backend, Here
from node_agent.network.proxy.ports import Refusal, ServicePort, service_ports
from node_agent.network.view import ClusterView

log = logging.getLogger(__name__)

# Seconds: changes come in bursts; how often a look is taken whether all still stands; pauses after failures.
_GATHER: Final = 0.03
_CHECK: Final = 30.0
_FIRST_RETRY: Final = 0.5
_LONGEST_RETRY: Final = 30.0
_REFUSED_RETRY: Final = 2.0


class ProxyBackend(Protocol):
    """Makes this machine forward connections."""

    name: str

    @property
    def refusals(self) -> Sequence[Refusal]:
        """Places that could not be had at the last apply()."""
        ...

    async def open(self) -> None:
        """Take over, or begin anew. Raises CommandFailed, OSError."""
        ...

    async def apply(self, ports: Sequence[ServicePort]) -> None:
        """Forward exactly these. Raises CommandFailed, OSError."""
        ...

    async def check(self) -> bool:
        """Whether what was applied still stands. Raises CommandFailed."""
        ...

    async def close(self) -> None:
        """Forward nothing; leave no trace."""
        ...


class ServiceProxy:
    """here(): what is local, at the moment; dns(): where this node answers names; refused(): is told once of each place
    that cannot be had."""

    def __init__(
        self,
        view: ClusterView,
        backend: ProxyBackend,
        lock: MachineLock,
        here: Callable[[], Here],
        dns: Callable[[], Sequence[Backend]],
        refused: Callable[[Refusal], None],
        who: str,
    ) -> None:
        self._view, self._backend, self._lock, self._here, self._dns, self._who = view, backend, lock, here, dns, who
        self._refused, self._told = refused, frozenset[Refusal]()
        self._changed = asyncio.Event()
        self._applied: list[ServicePort] | None = None
        self._retry = _FIRST_RETRY
        self._complaint = ""
        self._opened = False

    @property
    def serving(self) -> bool:
        """Whether this agent is the one, and has applied what it knows."""
        return self._applied is not None

    def changed(self) -> None:
        """Something that decides may be another now."""
        self._changed.set()

    async def run(self) -> None:
        """For ever; the view is started by somebody else."""
        await self._lock_taken()
        self._view.subscribe(self.changed)
        while True:
            pause = await self._round()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._changed.wait()
                    await asyncio.sleep(_GATHER)
            self._changed.clear()

    async def _lock_taken(self) -> None:
        if not self._lock.take(self._who):
            holder = self._lock.holder() or "another agent"
            log.info("the Services of this machine are served by %s; we take over when it ends", holder)
            await self._lock.taken(self._who)
        log.info("serving the cluster's Services by %s", self._backend.name)

    async def _round(self) -> float:
        """Bring it up to date; the seconds until a look is taken again."""
        if not self._view.synced:
            return _FIRST_RETRY
        try:
            await self._bring_up_to_date()
        except (CommandFailed, OSError) as problem:
            if str(problem) != self._complaint:
                self._complaint = str(problem)
                log.warning("the Services cannot be brought up to date; we keep trying: %s", problem)
            self._applied = None
            pause, self._retry = self._retry, min(self._retry * 2, _LONGEST_RETRY)
            return pause
        self._complaint, self._retry = "", _FIRST_RETRY
        return _REFUSED_RETRY if self._tell() else _CHECK

    def _tell(self) -> bool:
        """Tell of places that somebody else has; whether there are any."""
        present = frozenset(self._backend.refusals)
        for each in sorted(present - self._told):
            log.warning("service %s/%s cannot be served at %s: %s", each.namespace, each.service, each.place, each.why)
            self._refused(each)
        self._told = present
        return bool(present)

    async def _bring_up_to_date(self) -> None:
        if not self._opened:
            await self._backend.open()
            self._opened = True
        wanted = service_ports(self._view.services, self._view.all_slices, self._here(), self._dns())
        if wanted == self._applied and await self._backend.check():
            return
        await self._backend.apply(wanted)
        self._applied = wanted

    async def close(self) -> None:
        """After run() was cancelled."""
        if self._opened:
            try:
                await self._backend.close()
            except (CommandFailed, OSError) as problem:
                log.warning("not all of the proxy could be taken down: %s", problem)
        self._lock.release()
