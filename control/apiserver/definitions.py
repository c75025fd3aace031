"""CustomResourceDefinitions: from the stored definitions to the kinds that are served, and their end.

A definition is judged as it is written (names accepted or not), so its kinds are served as soon as the client hears
that it exists. When it is deleted its objects go first: any number of servers may do that side by side.
Source: "Extend the Kubernetes API with CustomResourceDefinitions" in the Kubernetes documentation.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import Final

from control.api.copying import copied
from control.api.crd import is_established, kinds_of, status_of, warnings_of
from control.api.kind import Kind
from control.api.meta import set_condition, timestamp
from control.api.schema import Object
from control.api.status import StatusError
from control.apiserver.server import Server
from control.apiserver.splice import parse, to_value
from control.apiserver.storage import Changed, Claimed, Extra, Stored

log = logging.getLogger(__name__)

DEFINITIONS: Final = "customresourcedefinitions.apiextensions.k8s.io"
FINALIZER: Final = "customresourcecleanup.apiextensions.k8s.io"
_PAGE: Final = 500
_WAIT_SECONDS: Final = 1.0


class Definitions:
    """The hook of CustomResourceDefinitions."""

    async def before_create(self, server: Server, obj: Object, extra: Extra) -> None:
        """Judge the names; see to it that the objects go before the definition."""
        metadata = obj["metadata"]
        if FINALIZER not in (metadata.get("finalizers") or []):
            metadata["finalizers"] = [*(metadata.get("finalizers") or []), FINALIZER]
        _judge(server, obj)
        extra.warnings.extend(warnings_of(obj))

    def prepare_update(self, new: Object, old: Object) -> None:
        """Nothing that validation waits for."""

    async def after_create(self, server: Server, obj: Object, revision: int) -> None:
        """This server serves the kind before the client can ask for it."""
        await server.feed.reach(revision)

    async def before_update(self, server: Server, new: Object, old: Object, extra: Extra) -> None:
        """Judge the names again."""
        _judge(server, new)
        if new["spec"] != old["spec"]:
            extra.warnings.extend(warnings_of(new))

    async def before_delete(self, server: Server, obj: Object, extra: Extra) -> None:
        """Its objects are gone by then."""

    def claim_lost(self, obj: Object, taken: Claimed) -> None:
        """It claims nothing."""


def _judge(server: Server, obj: Object) -> None:
    obj["status"] = status_of(obj, server.resources.catalogue, datetime.now(UTC))


def check_not_ending(server: Server, kind: Kind) -> None:
    """StatusError 405 for new objects of a kind whose definition is being deleted."""
    definition = server.resources.get(DEFINITIONS, "", f"{kind.plural}.{kind.group}")
    if definition is not None and definition["metadata"].get("deletionTimestamp"):
        message = "create not allowed while custom resource definition is terminating"
        raise StatusError(405, "MethodNotAllowed", message)


class Custom:
    """Follows the definitions and keeps the catalogue in step. start() once the cache is filled; close() at the end."""

    def __init__(self, server: Server) -> None:
        self._server = server
        # By definition: what it was when its kinds were made, and the kinds.
        self._kinds: dict[str, tuple[Object, list[Kind]]] = {}
        self._cleaning: dict[str, asyncio.Task[None]] = {}

    def start(self) -> None:
        """Serve what is defined now, and from then on what changes."""
        self._server.resources.subscribe(DEFINITIONS, self._changed)

    async def close(self) -> None:
        for task in self._cleaning.values():
            task.cancel()
        await asyncio.gather(*self._cleaning.values(), return_exceptions=True)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        name = (new or old or {})["metadata"]["name"]
        before = self._kinds.pop(name, None)
        if new is not None and is_established(new):
            if before is not None and before[0] == new["spec"]:
                self._kinds[name] = before
            else:
                self._kinds[name] = (new["spec"], _made(new))
        after = self._kinds.get(name)
        if (before and before[1]) != (after and after[1]) or before is not after:
            self._server.resources.replace_custom(kind for _, kinds in self._kinds.values() for kind in kinds)
        if new is not None and new["metadata"].get("deletionTimestamp") and name not in self._cleaning:
            task = self._cleaning[name] = asyncio.create_task(clean_up(self._server, new))
            task.add_done_callback(lambda _: self._cleaning.pop(name, None))


def _made(definition: Object) -> list[Kind]:
    """The definition's kinds, none if it cannot be understood: it may have been stored by another version of us."""
    try:
        return kinds_of(definition)
    except (KeyError, TypeError, ValueError, StopIteration):
        log.exception("the definition %s cannot be served", definition["metadata"]["name"])
        return []


async def clean_up(server: Server, definition: Object) -> None:
    """Delete every object of a definition that is being deleted, then let the definition go."""
    spec, name = definition["spec"], definition["metadata"]["name"]
    prefix = f"/registry/{spec['group']}/{spec['names']['plural']}/".encode()
    while True:
        try:
            if await _delete_all(server, prefix):
                await _release(server, name)
                return
        except StatusError as problem:
            log.warning("the objects of %s cannot be deleted yet: %s", name, problem)
        except Changed:
            continue
        await asyncio.sleep(_WAIT_SECONDS)


async def _delete_all(server: Server, prefix: bytes) -> bool:
    """Ask every object to go; whether all are gone."""
    page, empty = await server.storage.page(prefix, limit=_PAGE), True
    while page.items:
        for stored in page.items:
            empty = await _delete(server, stored) and empty
        if not page.remaining:
            break
        page = await server.storage.page(prefix, limit=_PAGE, after=page.items[-1].key)
    return empty


async def _delete(server: Server, stored: Stored) -> bool:
    """Whether it is gone; one with finalizers is marked, and goes when they do."""
    if stored.problem is not None:
        log.error("%s", stored.problem)
        return False
    obj = parse(stored.value, stored.revision)
    if not obj["metadata"].get("finalizers"):
        await server.storage.delete(stored.key, stored.revision)
        return True
    if not obj["metadata"].get("deletionTimestamp"):
        obj["metadata"] |= {"deletionTimestamp": timestamp(datetime.now(UTC)), "deletionGracePeriodSeconds": 0}
        await server.storage.update(stored.key, to_value(obj), stored.revision)
    return False


async def _release(server: Server, name: str) -> None:
    """Take our finalizer off the definition; delete it when that was the last one."""
    key = f"/registry/customresourcedefinitions/{name}".encode()
    stored = await server.storage.get(key)
    if stored is None:
        return
    obj = parse(stored.value, stored.revision)
    metadata = obj["metadata"]
    kept = [finalizer for finalizer in metadata.get("finalizers") or [] if finalizer != FINALIZER]
    if not kept:
        await server.storage.delete(key, stored.revision)
        return
    metadata["finalizers"] = kept
    await server.storage.update(key, to_value(obj), stored.revision)


def terminating(definition: Object, now: datetime) -> Object:
    """The definition with the condition that says it is on its way out."""
    found = copied(definition)
    status = found.setdefault("status", {})
    status["conditions"] = set_condition(
        status.get("conditions") or [],
        "Terminating",
        "True",
        now,
        reason="InstanceDeletionInProgress",
        message="CustomResource deletion is in progress",
    )
    return found
