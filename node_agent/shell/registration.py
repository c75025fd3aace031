"""The node in the API: registered once, its Lease renewed, its status reported when it changes and now and then.

Faults assumed: servers away for any time (pods go on; everything is made up for later), the Node or Lease deleted or
changed by others (made anew, or taken as they are now).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

from control.api.status import StatusError
from control.client.errors import Unreachable
from node_agent.node.facts import Machine
from node_agent.node.settings import NodeSettings
from node_agent.node.status import Situation, differs, label_patch, new_node, node_status
from node_agent.pod.spec import Object

log = logging.getLogger(__name__)

LEASES = "kube-node-lease"
_RETRY, _LONGEST_RETRY = 0.2, 7.0


class NodeClient(Protocol):
    """What this module needs of control.client.Client."""

    async def get(self, resource: str, name: str, namespace: str = "", *, resource_version: str = "") -> Object: ...

    async def create(self, resource: str, obj: Object, *, namespace: str = "") -> Object: ...

    async def update(self, resource: str, obj: Object) -> Object: ...

    async def patch(
        self, resource: str, name: str, patch: Any, *, namespace: str = "", kind: Any = "merge", subresource: str = ""
    ) -> Object: ...


class Registration:
    """One node's. situation(): how the node is at present; now: seconds since 1970."""

    def __init__(
        self,
        client: NodeClient,
        settings: NodeSettings,
        machine: Machine,
        situation: Callable[[], Situation],
        now: Callable[[], float],
    ) -> None:
        self._client, self._settings, self._machine = client, settings, machine
        self._situation, self._now = situation, now
        self.node: Object = new_node(settings, machine)
        self.registered = asyncio.Event()
        self._lease: Object | None = None
        self._reported = 0.0
        self._changed = asyncio.Event()
        self.api_fault = ""  # why the last heartbeat failed, "" when it did not

    def changed(self) -> None:
        """Something that the status shows may be another now."""
        self._changed.set()

    async def run(self) -> None:
        """Register, then keep lease and status up to date, for ever."""
        await self._register()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._renew_for_ever(), name="node lease")
            group.create_task(self._report_for_ever(), name="node status")

    # ---- registering ----

    async def _register(self) -> None:
        pause = _RETRY
        while True:
            try:
                await self.register_once()
                self.registered.set()
                return
            except (StatusError, Unreachable) as problem:
                log.warning("node %s cannot be registered yet: %s", self._settings.name, problem)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_RETRY)

    async def register_once(self) -> None:
        """Create the Node, or bring the one that is there up to date. Raises StatusError, Unreachable."""
        name = self._settings.name
        wanted = new_node(self._settings, self._machine)
        wanted["status"] = self._status({})
        try:
            if self._settings.register:
                self.node = await self._client.create("nodes", wanted)
                log.info("node %s was registered", name)
            else:
                self.node = await self._client.get("nodes", name)
        except StatusError as refused:
            if refused.code != 409:
                raise
            self.node = await self._client.get("nodes", name)
        patch = label_patch(self.node, self._settings, self._machine)
        if patch and self._settings.register:
            self.node = await self._client.patch("nodes", name, patch)
        await self._report()
        await self._renew()

    # ---- lease ----

    async def _renew_for_ever(self) -> None:
        pause = self._settings.lease_seconds / 4
        while True:
            await asyncio.sleep(pause)
            try:
                await self._renew()
                self.api_fault = ""
                pause = self._settings.lease_seconds / 4
            except (StatusError, Unreachable) as problem:
                if not self.api_fault:
                    log.warning("the lease of node %s cannot be renewed: %s", self._settings.name, problem)
                self.api_fault = str(problem)
                pause = 1.0

    async def _renew(self) -> None:
        """Write the Lease anew; one that somebody else has changed or removed is read or made again."""
        if self._lease is None:
            self._lease = await self._find_lease()
            return
        lease = {**self._lease, "spec": self._lease_spec()}
        try:
            self._lease = await self._client.update("leases.coordination.k8s.io", lease)
        except StatusError as refused:
            self._lease = None
            if refused.code not in (404, 409):
                raise
            self._lease = await self._find_lease()

    async def _find_lease(self) -> Object:
        name, resource = self._settings.name, "leases.coordination.k8s.io"
        try:
            lease = await self._client.get(resource, name, LEASES)
            return await self._client.update(resource, {**lease, "spec": self._lease_spec()})
        except StatusError as refused:
            if refused.code != 404:
                raise
        uid = (self.node.get("metadata") or {}).get("uid", "")
        owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid}
        metadata = {"name": name, "namespace": LEASES, "ownerReferences": [owner] if uid else []}
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata}
        return await self._client.create(resource, {**lease, "spec": self._lease_spec()}, namespace=LEASES)

    def _lease_spec(self) -> Object:
        renewed = datetime.fromtimestamp(self._now(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "holderIdentity": self._settings.name,
            "leaseDurationSeconds": self._settings.lease_seconds,
            "renewTime": renewed,
        }

    # ---- status ----

    async def _report_for_ever(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.status_frequency):
                    await self._changed.wait()
            self._changed.clear()
            try:
                await self.report_if_due()
            except (StatusError, Unreachable) as problem:
                log.warning("the status of node %s cannot be reported: %s", self._settings.name, problem)
                if isinstance(problem, StatusError) and problem.code == 404:
                    await self._register()

    async def report_if_due(self) -> None:
        """Report when the status is another, or the last report is old. Raises StatusError, Unreachable.

        The node is read first: after a silence of ours, its conditions are Unknown there, until we say otherwise.
        """
        # From the server's memory: what others write about us may be seen some milliseconds later.
        self._hear(await self._client.get("nodes", self._settings.name, resource_version="0"))
        status = self._status(self.node.get("status") or {})
        old = self._now() - self._reported >= self._settings.report_frequency
        if old or differs(self.node.get("status") or {}, status):
            await self._report()

    def _hear(self, node: Object) -> None:
        """Take over what others wrote into the conditions that are ours to write."""
        status = self.node.get("status") or {}
        theirs = {c.get("type"): c for c in (node.get("status") or {}).get("conditions") or ()}
        conditions = [theirs.get(own.get("type"), own) for own in status.get("conditions") or ()]
        self.node = {**self.node, "status": {**status, "conditions": conditions}}

    def _status(self, before: Object) -> Object:
        return node_status(self._settings, self._machine, self._situation(), before, self._now())

    async def _report(self) -> None:
        status = self._status(self.node.get("status") or {})
        name = self._settings.name
        self.node = await self._client.patch("nodes", name, {"status": status}, kind="strategic", subresource="status")
        # What the server made of it counts as ours, so that a field it keeps otherwise is not sent for ever.
        self.node = {**self.node, "status": {**(self.node.get("status") or {}), **status}}
        self._reported = self._now()
