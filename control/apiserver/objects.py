"""The server's own way to objects in the store (request.Objects): for what it keeps up itself, without admission."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime

from control.api.copying import copied
from control.api.defaults import apply_defaults
from control.api.kind import Kind
from control.api.prepare import ENTROPY_BYTES, identify, is_same, prepare_create
from control.api.schema import Object
from control.api.status import already_exists, conflict, not_found
from control.apiserver import hooks
from control.apiserver.server import Server
from control.apiserver.splice import parse, to_value
from control.apiserver.storage import Changed, Claimed, Extra, Fence, Stored

ATTEMPTS = 12


class StoredObjects:
    """See request.Objects. Built-in kinds in their stored version only."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def _kind(self, resource: str) -> Kind:
        catalogue = self._server.resources.catalogue
        return catalogue.stored(catalogue[resource])

    def _key(self, kind: Kind, namespace: str, name: str) -> bytes:
        return self._server.resources.cache_of(kind).key(namespace, name)

    async def get(self, resource: str, namespace: str, name: str) -> Object:
        """See request.Objects."""
        stored = await self._server.storage.get(self._key(self._kind(resource), namespace, name))
        if stored is None:
            raise not_found(resource, name)
        return parse(stored.value, stored.revision)

    async def create(self, resource: str, obj: Object) -> Object:
        """See request.Objects."""
        kind, namespace = self._kind(resource), obj.get("metadata", {}).get("namespace", "")
        made = identify(kind, copied(obj), namespace=namespace)
        made = prepare_create(
            kind, apply_defaults(kind, made), now=datetime.now(UTC), entropy=os.urandom(ENTROPY_BYTES)
        )
        if "status" in obj:
            made["status"] = copied(obj["status"])
        name = made["metadata"]["name"]
        for _ in range(ATTEMPTS):
            attempt, extra = copied(made), Extra()
            await hooks.before_create(self._server, kind, attempt, extra)
            try:
                revision = await self._server.storage.create(self._key(kind, namespace, name), to_value(attempt), extra)
            except Changed:
                raise already_exists(resource, name) from None
            except Claimed as taken:
                hooks.claim_lost(kind, made, taken)
                continue
            attempt["metadata"]["resourceVersion"] = str(revision)
            return attempt
        raise conflict(resource, name, "no free address could be taken, please try again")

    async def update(
        self,
        resource: str,
        namespace: str,
        name: str,
        change: Callable[[Object], Object | None],
        *,
        fence: Fence | None = None,
    ) -> Object:
        """See request.Objects. fence: of the request that it is a part of. Raises Fenced."""
        kind = self._kind(resource)
        key = self._key(kind, namespace, name)
        state = await self._server.storage.get(key)
        for _ in range(ATTEMPTS):
            if state is None:
                raise not_found(resource, name)
            old = parse(state.value, state.revision)
            new = change(copied(old))
            if new is None or is_same(new, old):
                return old
            try:
                revision = await self._server.storage.update(key, to_value(new), state.revision, Extra(fence=fence))
            except Changed as changed:
                state = changed.current
                continue
            new["metadata"]["resourceVersion"] = str(revision)
            return new
        raise conflict(resource, name)

    async def delete(self, resource: str, namespace: str, name: str) -> None:
        """See request.Objects."""
        kind = self._kind(resource)
        key = self._key(kind, namespace, name)
        state: Stored | None = await self._server.storage.get(key)
        while state is not None:
            extra = Extra()
            await hooks.before_delete(self._server, kind, parse(state.value, state.revision), extra)
            try:
                await self._server.storage.delete(key, state.revision, extra)
                return
            except Changed as changed:
                state = changed.current
