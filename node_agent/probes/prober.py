"""When probes run: each probe of each running container in its period, one timer each, no task between attempts.

Invariants: a result counts for the container it was taken of and for no other; a probe never runs twice at once.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from node_agent.pod import spec
from node_agent.pod.observed import Container, Probed
from node_agent.pod.probes import Track, due, probed, recall, tracks_of
from node_agent.pod.spec import Object
from node_agent.probes.handlers import Outcome, Target
from node_agent.shell.records import PodEvents

log = logging.getLogger(__name__)


class Runner(Protocol):
    """What runs one attempt."""

    def run(self, target: Target, handler: Object, timeout: float) -> Awaitable[Outcome]: ...


@dataclass(slots=True)
class _Probed:
    """The probes of one running container."""

    id: str
    started: float
    tracks: dict[str, Track]
    timers: dict[str, asyncio.TimerHandle] = field(default_factory=dict)
    running: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def stop(self) -> None:
        for timer in self.timers.values():
            timer.cancel()
        for task in self.running.values():
            task.cancel()
        self.timers.clear()

    def drop(self, kind: str) -> None:
        """That probe is not asked any more, nor what it is just being asked listened to."""
        if (timer := self.timers.pop(kind, None)) is not None:
            timer.cancel()
        if (task := self.running.pop(kind, None)) is not None:
            task.cancel()


class Prober:
    """The probes of one node's pods. changed(uid): a verdict on one of the pod's containers changed."""

    def __init__(
        self,
        runner: Runner,
        events: PodEvents,
        address: Callable[[str], str],
        changed: Callable[[str], None],
        now: Callable[[], float],
        since: float,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """address(uid): where the pod is reached. since: when this agent began; older containers keep their state."""
        self._runner, self._events, self._address, self._changed = runner, events, address, changed
        self._now, self._since, self._jitter = now, since, jitter
        self._pods: dict[str, dict[str, _Probed]] = {}
        self._objects: dict[str, Object] = {}
        self._results: dict[tuple[str, str], int] = {}  # (kind, "successful" or "failed") → count

    @property
    def counts(self) -> dict[tuple[str, str], int]:
        return self._results

    def follow(self, pod: Object, running: dict[str, Container]) -> None:
        """Probe exactly these containers of the pod from now on."""
        uid = spec.uid(pod)
        have = self._pods.setdefault(uid, {})
        self._objects[uid] = pod
        for name in [name for name, found in have.items() if name not in running or running[name].id != found.id]:
            have.pop(name).stop()
        for name, container in running.items():
            described = spec.container(pod, name)
            if name in have:
                self._recall(pod, name, have[name])
            elif described is not None:
                have[name] = _Probed(container.id, container.started, tracks_of(described))
                self._recall(pod, name, have[name])
                self._arm(uid, name, have[name])

    def _recall(self, pod: Object, name: str, found: _Probed) -> None:
        """Take over what the agent before this one found out of an older container.

        The checkpoint may not know it: the API server's word comes later, when the probes are under way already.
        """
        if found.started >= self._since or not recall(found.tracks, _status_of(pod, name), found.id):
            return
        for track in found.tracks.values():
            if track.suspended:
                found.drop(track.kind)
        self._arm(spec.uid(pod), name, found)

    def results(self, uid: str) -> dict[str, Probed]:
        """By container name."""
        return {name: probed(found.tracks) for name, found in self._pods.get(uid, {}).items()}

    def forget(self, uid: str) -> None:
        for found in self._pods.pop(uid, {}).values():
            found.stop()
        self._objects.pop(uid, None)

    def close(self) -> None:
        for uid in list(self._pods):
            self.forget(uid)

    # ---- timers ----

    def _arm(self, uid: str, name: str, found: _Probed) -> None:
        """Set the timers of the probes that are due in the present stage and have none."""
        for track in due(found.tracks):
            if track.kind not in found.timers and track.kind not in found.running:
                first = max(found.started + track.initial_delay - self._now(), 0.0)
                restarted = found.started < self._since
                delay = first + (track.period * self._jitter() if restarted else 0.0)
                self._set(uid, name, found, track, delay)

    def _set(self, uid: str, name: str, found: _Probed, track: Track, delay: float) -> None:
        loop = asyncio.get_running_loop()
        found.timers[track.kind] = loop.call_later(delay, self._fire, uid, name, found, track)

    def _fire(self, uid: str, name: str, found: _Probed, track: Track) -> None:
        found.timers.pop(track.kind, None)
        task = asyncio.get_running_loop().create_task(self._attempt(uid, name, found, track))
        found.running[track.kind] = task

    async def _attempt(self, uid: str, name: str, found: _Probed, track: Track) -> None:
        pod = self._objects[uid]
        container = spec.container(pod, name)
        began = self._now()
        try:
            target = Target(pod, container or {}, found.id, self._address(uid))
            outcome = await self._runner.run(target, track.probe, track.timeout)
        except asyncio.CancelledError:
            raise
        except Exception as bug:
            log.exception("the %s probe of %s/%s failed", track.kind, spec.full_name(pod), name)
            outcome = Outcome(False, str(bug) or type(bug).__name__, error=True)
        finally:
            found.running.pop(track.kind, None)
        if self._pods.get(uid, {}).get(name) is not found:
            return
        self._take(pod, name, track, outcome)
        if not track.suspended:
            self._set(uid, name, found, track, max(began + track.period - self._now(), 0.0))
        self._arm(uid, name, found)

    def _take(self, pod: Object, name: str, track: Track, outcome: Outcome) -> None:
        key = (track.kind, "successful" if outcome.ok else "failed")
        self._results[key] = self._results.get(key, 0) + 1
        if not outcome.ok and not spec.deleting(pod):
            verb = "errored" if outcome.error else "failed"
            message = f"{track.kind.capitalize()} probe {verb}: {outcome.message}"
            self._events.warning(pod, "Unhealthy", message, name)
        if track.take(outcome.ok):
            self._changed(spec.uid(pod))


def _status_of(pod: Object, name: str) -> Object | None:
    status = spec.status(pod)
    entries = (status.get("containerStatuses") or []) + (status.get("initContainerStatuses") or [])
    return next((entry for entry in entries if entry.get("name") == name), None)
