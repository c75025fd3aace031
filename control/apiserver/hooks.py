"""What some kinds need beside the generic way of a write: addresses of Services, names of CustomResourceDefinitions.

A hook adds claims and releases to the write's transaction, so what it takes or gives back is exact, whoever races.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from control.api.kind import Kind
from control.api.schema import Object
from control.api.status import conflict
from control.apiserver.addresses import ServiceAddresses
from control.apiserver.definitions import Definitions, check_not_ending
from control.apiserver.server import Server
from control.apiserver.storage import Claimed, Extra


class Hook(Protocol):
    """One kind's needs."""

    def prepare_update(self, new: Object, old: Object) -> None: ...

    async def before_create(self, server: Server, obj: Object, extra: Extra) -> None: ...

    async def after_create(self, server: Server, obj: Object, revision: int) -> None: ...

    async def before_update(self, server: Server, new: Object, old: Object, extra: Extra) -> None: ...

    async def before_delete(self, server: Server, obj: Object, extra: Extra) -> None: ...

    def claim_lost(self, obj: Object, taken: Claimed) -> None: ...


HOOKS: Final[dict[str, Any]] = {
    "services": ServiceAddresses(),
    "customresourcedefinitions.apiextensions.k8s.io": Definitions(),
}


def prepare_update(kind: Kind, new: Object, old: Object) -> None:
    """Complete a change, in place, before it is validated."""
    hook: Hook | None = HOOKS.get(kind.resource)
    if hook is not None:
        hook.prepare_update(new, old)


async def before_create(server: Server, kind: Kind, obj: Object, extra: Extra) -> None:
    """Complete a new object, and claim what it needs. Called again after a claim was lost."""
    if kind.custom:
        check_not_ending(server, kind)
    hook: Hook | None = HOOKS.get(kind.resource)
    if hook is not None:
        await hook.before_create(server, obj, extra)


async def after_create(server: Server, kind: Kind, obj: Object, revision: int) -> None:
    """What must be true before the client hears that the object exists."""
    hook: Hook | None = HOOKS.get(kind.resource)
    if hook is not None:
        await hook.after_create(server, obj, revision)


async def before_update(server: Server, kind: Kind, new: Object, old: Object, extra: Extra) -> None:
    """Claim and release what a change of the object takes and leaves."""
    hook: Hook | None = HOOKS.get(kind.resource)
    if hook is not None:
        await hook.before_update(server, new, old, extra)


async def before_delete(server: Server, kind: Kind, obj: Object, extra: Extra) -> None:
    """Release what the object had."""
    hook: Hook | None = HOOKS.get(kind.resource)
    if hook is not None:
        await hook.before_delete(server, obj, extra)


def claim_lost(kind: Kind, obj: Object, taken: Claimed) -> None:
    """Somebody else took what a write claimed. obj: as the client gave it. StatusError: it was the client's choice."""
    hook: Hook | None = HOOKS.get(kind.resource)
    if hook is None:
        raise conflict(kind.resource, obj["metadata"]["name"], f"{taken} is taken")
    hook.claim_lost(obj, taken)
