"""Mirror pods: the API's image of the node's static pods, so that kubectl shows them.

A static pod lives by its file. Its mirror is made when it is missing, removed when it is not this file's any more, and
takes the status that the agent reports. Deleting a mirror in the API ends nothing: it is made anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from control.api.copying import copied
from control.api.status import StatusError
from control.client.errors import Unreachable
from node_agent.pod import spec
from node_agent.pod.spec import MIRROR, STATIC_HASH, Object

log = logging.getLogger(__name__)

_RETRY = 5.0


class MirrorClient(Protocol):
    """What this module needs of control.client.Client."""

    async def create(self, resource: str, obj: Object, *, namespace: str = "") -> Object: ...

    async def delete(
        self, resource: str, name: str, *, namespace: str = "", uid: str = "", grace: int | None = None
    ) -> Object: ...


class Mirrors:
    """The mirrors of one node."""

    def __init__(self, client: Any, node: Callable[[], Object]) -> None:
        """node(): the Node object, which owns its mirrors."""
        self._client: MirrorClient = client
        self._node = node
        self._static: dict[tuple[str, str], Object] = {}
        self._mirrors: dict[tuple[str, str], Object] = {}
        self._task: asyncio.Task[None] | None = None
        self._active = False

    def wanted(self, pods: Iterable[Object]) -> None:
        """These are the static pods now."""
        self._static = {(spec.namespace(pod), spec.name(pod)): pod for pod in pods}
        self._wake()

    def changed(self, old: Object | None, new: Object | None) -> None:
        """A subscriber of the informer of this node's pods."""
        pod = new if new is not None else old
        if pod is None or not spec.is_mirror(pod):
            return
        key = (spec.namespace(pod), spec.name(pod))
        if new is None:
            self._mirrors.pop(key, None)
        else:
            self._mirrors[key] = new
        self._wake()

    def heard(self) -> None:
        """The API's pods are known: from now on mirrors are made and removed."""
        self._active = True
        self._wake()

    def mirror_of(self, pod: Object) -> Object | None:
        """The mirror of exactly this static pod, None while there is none."""
        found = self._mirrors.get((spec.namespace(pod), spec.name(pod)))
        return found if found is not None and spec.annotations_of(found)[MIRROR] == spec.uid(pod) else None

    def _wake(self) -> None:
        if self._task is None and self._active and self._work():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="mirror pods")

    def _work(self) -> list[tuple[Object | None, Object | None]]:
        """(static pod to mirror | None, mirror to remove | None)."""
        found: list[tuple[Object | None, Object | None]] = []
        for key, mirror in self._mirrors.items():
            static = self._static.get(key)
            if (static is None or spec.annotations_of(mirror)[MIRROR] != spec.uid(static)) or spec.deleting(mirror):
                found.append((None, mirror))
        found += [(pod, None) for key, pod in self._static.items() if key not in self._mirrors]
        return found

    async def _run(self) -> None:
        try:
            while work := self._work():
                for static, mirror in work:
                    await self._settle(static, mirror)
        finally:
            self._task = None

    async def _settle(self, static: Object | None, mirror: Object | None) -> None:
        try:
            if mirror is not None:
                key = (spec.namespace(mirror), spec.name(mirror))
                uid = spec.metadata(mirror).get("uid", "")
                await self._client.delete("pods", key[1], namespace=key[0], uid=uid, grace=0)
                self._mirrors.pop(key, None)
            elif static is not None:
                made = await self._client.create(
                    "pods", mirror_object(static, self._node()), namespace=spec.namespace(static)
                )
                self._mirrors[(spec.namespace(static), spec.name(static))] = made
        except StatusError as refused:
            if mirror is not None and refused.code in (404, 409):
                self._mirrors.pop((spec.namespace(mirror), spec.name(mirror)), None)
                return
            log.warning("a mirror pod could not be settled: %s", refused)
            await asyncio.sleep(_RETRY)
        except Unreachable as outage:
            log.warning("mirror pods wait: %s", outage)
            await asyncio.sleep(_RETRY)

    async def close(self) -> None:
        self._active = False
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


def mirror_object(pod: Object, node: Object) -> Object:
    """What is created in the API for a static pod; node: its owner, so that it goes with it."""
    made = copied(pod)
    made.pop("status", None)
    metadata = made["metadata"]
    for name in ("uid", "resourceVersion", "creationTimestamp", "deletionTimestamp"):
        metadata.pop(name, None)
    metadata["annotations"] = {**metadata.get("annotations", {}), MIRROR: metadata["annotations"][STATIC_HASH]}
    owner = {"apiVersion": "v1", "kind": "Node", "name": spec.name(node), "uid": spec.metadata(node).get("uid", "")}
    metadata["ownerReferences"] = [{**owner, "controller": True}] if owner["uid"] else []
    return made
