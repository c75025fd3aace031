"""Deleting what cannot be read: an object whose encryption key is lost would stay for ever otherwise.

DeleteOptions.ignoreStoreReadErrorWithClusterBreakingPotential asks for it, a right of its own is needed, and it works
on such objects only: a readable one goes the ordinary way. Since nobody knows what the object says, no finalizer,
precondition or admission is looked at; what depended on it stays. Source: the API reference (DeleteOptions) of
Kubernetes, and its documentation on deleting resources that cannot be decrypted.
"""

from __future__ import annotations

from typing import Final

from control.api.schema import Object
from control.api.status import Cause, StatusError, forbidden, invalid, not_found
from control.apiserver.call import Call
from control.apiserver.conditions import fence_lost, fence_of
from control.apiserver.request import Attributes
from control.apiserver.storage import Changed, Extra, Fenced

OPTION: Final = "ignoreStoreReadErrorWithClusterBreakingPotential"
VERB: Final = "unsafe-delete-ignore-read-errors"
_NOT_TOGETHER: Final = ("dryRun", "gracePeriodSeconds", "orphanDependents", "preconditions", "propagationPolicy")


def is_unsafe(call: Call, options: Object) -> bool:
    """Whether the request is for it. StatusError 422, 403: options that contradict it, or the right is missing."""
    if not (options.get(OPTION) or call.info.parameter(OPTION) in ("true", "1")):
        return False
    wrong = [name for name in _NOT_TOGETHER if options.get(name) is not None or call.info.parameter(name)]
    if wrong:
        raise _invalid([f"cannot be set together with .{name}" for name in wrong])
    info = call.info
    asked = Attributes(VERB, info.group, info.version, info.resource, "", info.namespace, info.name)
    decision = call.server.security.authorizer.authorize(call.user, asked)
    if not decision.allowed:
        raise forbidden(call.of.resource, info.name, f"not permitted to do {VERB!r}, reason: {decision.reason}")
    return True


def refuse_unsafe(options: Object) -> None:
    """For collections: StatusError 422."""
    if options.get(OPTION):
        raise _invalid(["is not allowed with DELETECOLLECTION, try again after removing the option"])


async def delete_unreadable(call: Call, namespace: str, name: str) -> bool:
    """Whether there was such an object; it is gone then. False: it can be read. StatusError 404, 409."""
    cache, storage = await call.server.resources.loaded(call.of), call.server.storage
    key = cache.key(namespace, name)
    while True:
        state = await storage.look(key)
        if state is None:
            raise not_found(call.of.resource, name)
        if state.problem is None:
            return False
        try:
            await storage.delete(key, state.revision, Extra(fence=fence_of(call)))
            return True
        except Fenced:
            raise fence_lost(call, call.of, name) from None
        except Changed:
            continue


def _invalid(details: list[str]) -> StatusError:
    causes = [Cause("FieldValueInvalid", f"Invalid value: true: {detail}", OPTION) for detail in details]
    return invalid("DeleteOptions", "", causes)
