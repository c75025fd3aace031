"""What some kinds need beside the generic way of a write: addresses of Services, names of CustomResourceDefinitions.

A hook adds claims and releases to the write's transaction, so what it takes or gives back is exact, whoever races.
"""

from __future__ import annotations

from control.api.kind import Kind
from control.api.schema import Object
from control.api.status import StatusError, conflict
from control.apiserver.call import Call
from control.apiserver.storage import Claimed, Extra


async def before_create(call: Call, kind: Kind, obj: Object, extra: Extra) -> None:
    """Complete a new object, and claim what it needs. Called again after a claim was lost."""


async def after_create(call: Call, kind: Kind, obj: Object, revision: int) -> None:
    """What must be true before the client hears that the object exists."""


async def before_update(call: Call, kind: Kind, new: Object, old: Object, extra: Extra) -> None:
    """Claim and release what a change of the object takes and leaves."""


async def before_delete(call: Call, kind: Kind, obj: Object, extra: Extra) -> None:
    """Release what the object had."""


def claim_lost(call: Call, kind: Kind, obj: Object, taken: Claimed) -> None:
    """Somebody else took what a new object claimed: forget the choice, or refuse when it was the client's own."""
    raise claim_refused(kind, obj, taken)


def claim_refused(kind: Kind, obj: Object, taken: Claimed) -> StatusError:
    """The refusal for something that was asked for by name and is taken."""
    return conflict(kind.resource, obj["metadata"]["name"], f"{taken} is taken")
