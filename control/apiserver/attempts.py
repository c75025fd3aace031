"""A change of one object, tried on what memory holds and again on what the store holds, until one transaction fits.

Memory may be a moment old: the transaction compares the revision, and a refusal that follows from an old state is
given only after a look into the store has shown that nothing is newer. When somebody else wrote meanwhile, the change
is made again to the new state.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from control.api.status import StatusError, conflict, not_found
from control.apiserver.call import Call
from control.apiserver.conditions import ATTEMPTS
from control.apiserver.storage import Changed, Stored

T = TypeVar("T")


async def on_present_state(call: Call, namespace: str, name: str, attempt: Callable[[Stored], Awaitable[T]]) -> T:
    """What the attempt returns that succeeds. It raises Changed when the store is not at its state any more.

    StatusError: 404, 409 when every attempt met another state, and what the attempt on the present state raises.
    """
    kind, storage = call.of, call.server.storage
    cache = await call.server.resources.loaded(kind)
    key = cache.key(namespace, name)
    cached = cache.get(namespace, name)
    state = Stored(key, cached.data, cached.revision) if cached is not None else await storage.get(key)
    fresh = cached is None
    for _ in range(ATTEMPTS):
        if state is None:
            raise not_found(kind.resource, name)
        try:
            return await attempt(state)
        except Changed as changed:
            state, fresh = changed.current, True
        except StatusError:
            if fresh:
                raise
            live = await storage.get(key)
            if live is not None and live.revision == state.revision:
                raise
            state, fresh = live, True
    raise conflict(kind.resource, name)
