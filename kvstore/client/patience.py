"""Asking until the store can answer: for those who wait anyway, in a line or for a leader."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from kvstore.backoff import delays
from kvstore.client.errors import ClientError, Compacted, StoreError, TimedOut, Unreachable
from kvstore.errors import Code

T = TypeVar("T")


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """The result of ask(), asked again for as long as it fails only because the store cannot be reached.

    Also after Compacted: whoever watches from a revision that is gone looks afresh. Not for writes of unknown fate.
    """
    pause = delays()
    while True:
        try:
            return await ask()
        except ClientError as problem:
            if not _passing(problem):
                raise
        await asyncio.sleep(next(pause))


def _passing(problem: ClientError) -> bool:
    if isinstance(problem, StoreError):
        return problem.code is Code.UNAVAILABLE or isinstance(problem, Compacted)
    return isinstance(problem, (Unreachable, TimedOut))
