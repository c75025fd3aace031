"""Ending containers: preStop hook, SIGTERM, SIGKILL when the grace period is over; several at once, none waited for."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

from node_agent.pod import spec
from node_agent.pod.actions import Kill
from node_agent.pod.spec import Object
from node_agent.runtime.errors import NotFound, RuntimeFault
from node_agent.shell.context import Context

log = logging.getLogger(__name__)

# What a container gets after its preStop hook, or the pod's others before it, have used its grace up, in seconds.
_LEAST = 2.0


@dataclass(slots=True)
class _End:
    task: asyncio.Task[None]
    until: float  # when SIGKILL comes, seconds since 1970


class Killer:
    """The ends under way of one pod's containers. done() is called after each. shortest: a cap on grace periods."""

    def __init__(self, context: Context, done: Callable[[], None]) -> None:
        self._context, self._done = context, done
        self._ends: dict[str, _End] = {}
        self.shortest: float | None = None
        self._pod_until = math.inf  # when the time of the pod as a whole is over, once its end has begun

    @property
    def ids(self) -> frozenset[str]:
        return frozenset(self._ends)

    def kill(self, pod: Object, action: Kill) -> None:
        """Begin; the container stands in `ids` until it has ended."""
        if action.id in self._ends:
            return
        self._context.events.normal(pod, "Killing", action.event, action.name)
        grace = action.grace if self.shortest is None else min(action.grace, self.shortest)
        self._begin(pod, action.id, action.name, self._left(grace) if action.final else grace, hook=True)

    def _left(self, grace: float) -> float:
        """What is left of the pod's time, which began with the end of its first container."""
        now = self._context.now()
        self._pod_until = min(self._pod_until, now + grace)
        return min(grace, max(self._pod_until - now, _LEAST))

    def hurry(self, pod: Object, grace: float) -> None:
        """The pod has less time than was said before: what would take longer gets SIGKILL at the new time."""
        until = self._context.now() + grace
        self._pod_until = min(self._pod_until, until)
        for container_id, end in list(self._ends.items()):
            if until < end.until - 1:
                end.task.cancel()
                del self._ends[container_id]
                self._begin(pod, container_id, "", grace, hook=False)

    def _begin(self, pod: Object, container_id: str, name: str, grace: float, *, hook: bool) -> None:
        task = asyncio.get_running_loop().create_task(self._end(pod, container_id, name, grace, hook))
        self._ends[container_id] = _End(task, self._context.now() + grace)

    async def _end(self, pod: Object, container_id: str, name: str, grace: float, hook: bool) -> None:
        try:
            left = await self._pre_stop(pod, container_id, name, grace) if hook and grace > 0 else grace
            await self._context.runtime.stop_container(container_id, left)
            await self._context.view.look_at(spec.uid(pod))
        except NotFound:
            pass
        except RuntimeFault as problem:
            log.warning("container %s of pod %s does not end: %s", name, spec.full_name(pod), problem)
            await asyncio.sleep(self._context.retry)
        except Exception:
            log.exception("ending container %s of pod %s failed", name, spec.full_name(pod))
            await asyncio.sleep(self._context.retry)
        end = self._ends.get(container_id)
        if end is not None and end.task is asyncio.current_task():
            del self._ends[container_id]
            self._done()

    async def _pre_stop(self, pod: Object, container_id: str, name: str, grace: float) -> float:
        """Run the hook, if there is one; what is left of the grace period."""
        container = spec.container(pod, name)
        if container is None or not (container.get("lifecycle") or {}).get("preStop"):
            return grace
        began = self._context.now()
        why = await self._context.hooks.run(pod, container, container_id, "preStop", grace)
        if why:
            self._context.events.warning(pod, "FailedPreStopHook", "PreStopHook failed", name)
        return max(grace - (self._context.now() - began), _LEAST)

    async def stop(self) -> None:
        """Do not wait for the ends under way; the runtime may still carry them out."""
        tasks = [end.task for end in self._ends.values() if end.task is not asyncio.current_task()]
        self._ends.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
