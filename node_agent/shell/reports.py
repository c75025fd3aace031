"""Statuses of pods on their way to the API server: only what changed, the newest only, a few at a time, tried again.

Reports are strategic merge patches of the status that carry the pod's uid, so they never touch another pod of the same
name. A report that says something new of note (phase, readiness, a restart) leaves at once; others wait for a moment in
which they may be overtaken by a newer one. Faults assumed: servers away for any time; the pod deleted meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from control.api.status import StatusError
from control.client.cause import Cause
from control.client.errors import Unreachable
from node_agent.pod import spec
from node_agent.pod.spec import Object
from node_agent.pod.status import status_patch

log = logging.getLogger(__name__)

_AT_ONCE = 16  # patches in flight
_GATHER = 0.4  # seconds that an unimportant report waits for a newer one
_RETRY, _LONGEST_RETRY = 0.5, 30.0


class Writer(Protocol):
    """What reports need of control.client.Client."""

    async def get(self, resource: str, name: str, namespace: str = "", *, resource_version: str = "") -> Object: ...

    async def patch(
        self,
        resource: str,
        name: str,
        patch: Any,
        *,
        namespace: str = "",
        kind: Any = "merge",
        subresource: str = "",
        cause: Cause | None = None,
    ) -> Object: ...

    async def delete(
        self,
        resource: str,
        name: str,
        *,
        namespace: str = "",
        uid: str = "",
        grace: int | None = None,
        cause: Cause | None = None,
    ) -> Object: ...


@dataclass(slots=True)
class _Report:
    pod: Object
    wanted: Object
    because: str = ""
    known: Object = field(default_factory=dict)  # the status that the server has, as far as we know
    task: asyncio.Task[None] | None = None
    urgent: asyncio.Event = field(default_factory=asyncio.Event)
    gone: bool = False


class Reports:
    """One per node. mirror(pod): the API's own object of a static pod, None while there is none."""

    def __init__(self, client: Writer, mirror: Callable[[Object], Object | None] | None = None) -> None:
        self._client, self._mirror = client, mirror
        self._reports: dict[str, _Report] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)

    def report(self, pod: Object, status: Object, because: str) -> None:
        """Have the pod's status written; the newest one wins."""
        target = self._mirror(pod) if spec.is_static(pod) and self._mirror else pod
        uid = spec.uid(pod)
        found = self._reports.get(uid)
        if target is None:
            return
        if found is None:
            found = self._reports[uid] = _Report(target, status, because, known=spec.status(target))
        else:
            self._refresh(found, target)
        found.wanted, found.because = status, because
        if found.gone or not status_patch(found.known, status):
            return
        if _of_note(found.known, status):
            found.urgent.set()
        if found.task is None:
            found.task = asyncio.get_running_loop().create_task(self._send(uid, found))

    def _refresh(self, report: _Report, target: Object) -> None:
        """Take the server's status from the newer of what the informer has and what the last patch answered."""
        if not _same(target, report.pod):  # a mirror that was made anew
            report.gone = False
        elif _version(target) <= _version(report.pod):
            return
        report.pod, report.known = target, spec.status(target)

    async def delivered(self, pod: Object) -> bool:
        """Wait until the newest report has arrived; False: the pod is gone."""
        report = self._reports.get(spec.uid(pod))
        if report is None:
            return True
        report.urgent.set()
        if report.task is not None:
            await asyncio.shield(report.task)
        return not report.gone

    async def remove(self, pod: Object, because: str) -> None:
        """Delete the object of a pod of which nothing is left here. Raises StatusError, Unreachable."""
        try:
            await self._client.delete(
                "pods",
                spec.name(pod),
                namespace=spec.namespace(pod),
                uid=spec.metadata(pod).get("uid", ""),
                grace=0,
                cause=Cause.of("pods", pod, because),
            )
        except StatusError as refused:
            if refused.code not in (404, 409):
                raise
        self.forget(spec.uid(pod))

    def forget(self, uid: str) -> None:
        report = self._reports.pop(uid, None)
        if report is not None and report.task is not None:
            report.task.cancel()

    async def close(self) -> None:
        """Drop what was not written yet."""
        tasks = [report.task for report in self._reports.values() if report.task is not None]
        self._reports.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ---- sending ----

    async def _send(self, uid: str, report: _Report) -> None:
        pause = _RETRY
        try:
            while not report.gone and (patch := status_patch(report.known, report.wanted)):
                await self._gather(report)
                patch = status_patch(report.known, report.wanted)
                if not patch:
                    break
                if await self._patch(report, patch):
                    pause = _RETRY
                else:
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, _LONGEST_RETRY)
        finally:
            report.task = None

    async def _gather(self, report: _Report) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GATHER):
                await report.urgent.wait()
        report.urgent.clear()

    async def _patch(self, report: _Report, patch: dict[str, Any]) -> bool:
        """Whether it need not be tried again."""
        pod, wanted = report.pod, report.wanted
        body = {"metadata": {"uid": spec.metadata(pod).get("uid", "")}, "status": patch}
        cause = Cause.of("pods", pod, report.because) if report.because and _of_note(report.known, wanted) else None
        try:
            async with self._slots:
                answer = await self._client.patch(
                    "pods",
                    spec.name(pod),
                    body,
                    namespace=spec.namespace(pod),
                    kind="strategic",
                    subresource="status",
                    cause=cause,
                )
        except StatusError as refused:
            return not _same(pod, report.pod) or await self._refused(report, refused, wanted)
        except Unreachable as outage:
            log.warning("the status of pod %s waits: %s", spec.full_name(pod), outage)
            return False
        if not _same(pod, report.pod):
            return True  # it was of the last mirror, and says nothing of the one that is there now
        if _version(answer) >= _version(report.pod):
            report.pod = answer
        report.known = {**spec.status(answer)} if spec.status(answer) else {**report.known, **wanted}
        if status_patch(report.known, wanted):
            # The server keeps something otherwise than we wrote it; asking again would not change that.
            report.known = {**report.known, **wanted}
        return True

    async def _refused(self, report: _Report, refused: StatusError, wanted: Object) -> bool:
        if refused.code == 404:
            report.gone = True
            return True
        if refused.code == 409:
            return await self._look_again(report, refused)
        log.warning("the status of pod %s was refused: %s", spec.full_name(report.pod), refused)
        if refused.code in (400, 403, 422):
            report.known = {**report.known, **wanted}  # the same again would be refused again
            return True
        return False

    async def _look_again(self, report: _Report, refused: StatusError) -> bool:
        """A conflict is of another pod of that name, or of a write that lost its race and is made again."""
        pod = report.pod
        try:
            found = await self._client.get("pods", spec.name(pod), spec.namespace(pod))
        except StatusError as missing:
            found = {} if missing.code == 404 else pod
        except Unreachable:
            found = pod
        if not _same(pod, report.pod):
            return True
        if not _same(found, pod):
            report.gone = True
            return True
        log.info("the status of pod %s is written again: %s", spec.full_name(pod), refused)
        self._refresh(report, found)
        return False


def _same(one: Object, other: Object) -> bool:
    """Whether both are versions of one object."""
    return bool(spec.metadata(one).get("uid", "") == spec.metadata(other).get("uid", ""))


def _version(pod: Object) -> int:
    """Our servers' resource versions are revisions of the store and can be compared."""
    version = spec.metadata(pod).get("resourceVersion", "")
    return int(version) if str(version).isdigit() else 0


def _of_note(old: Object, new: Object) -> bool:
    """Whether people or controllers wait for this: another phase or readiness, or a restart."""
    return (
        old.get("phase") != new.get("phase")
        or _ready(old) != _ready(new)
        or _restarts(old) != _restarts(new)
        or old.get("reason") != new.get("reason")
    )


def _ready(status: Object) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or [])


def _restarts(status: Object) -> int:
    lists = (status.get("containerStatuses") or []) + (status.get("initContainerStatuses") or [])
    return sum(int(entry.get("restartCount") or 0) for entry in lists)
