"""The member's callbacks as things to await.

Who waits may be cancelled at any time; what comes for it afterwards is dropped.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from kvstore.errors import EtcdError

if TYPE_CHECKING:
    from kvstore.member.member import Member


def settle(future: asyncio.Future[Any], result: Any, problem: EtcdError | None) -> None:
    """End the future as a `done` callback was told."""
    if future.done():
        return
    if problem is None:
        future.set_result(result)
    else:
        future.set_exception(problem)


async def linearizable(member: Member) -> None:
    """Return once what is applied here is at least as new as the moment of the call. Raises what the member raises."""
    future: asyncio.Future[None] = member.loop.create_future()
    member.linearizable(partial(settle, future, None))
    await future


async def committed(member: Member) -> None:
    """Return once the backend holds all that was applied before the call."""
    future: asyncio.Future[None] = member.loop.create_future()
    member.committer.flush(partial(settle, future, None, None))
    await future
