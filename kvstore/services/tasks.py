"""Calls that take several steps: the member's callbacks as things to await, and a task that ends with its call."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any

from kvstore.auth.types import Identity
from kvstore.errors import Code
from kvstore.member.awaited import settle
from kvstore.member.member import Member
from kvstore.wire.grpc.call import Call

# The loop itself holds tasks weakly.
_running: set[asyncio.Task[None]] = set()


def spawn(member: Member, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run it on the member's loop, held until it has ended."""
    task = member.loop.create_task(work)
    _running.add(task)
    task.add_done_callback(_running.discard)
    return task


def run(member: Member, call: Call, work: Coroutine[Any, Any, bytes]) -> None:
    """Answer a unary call with what `work` returns, or its error. A call that ends before cancels it."""

    async def answer() -> None:
        try:
            call.reply(await work)
        except asyncio.CancelledError:
            call.fail(Code.CANCELED, "context canceled")
            raise
        except Exception as fault:
            call.fail_with(fault)

    cancel_with(call, spawn(member, answer()))


def cancel_with(call: Call, task: asyncio.Task[None]) -> None:
    """A call that its client or its deadline ends takes the task with it."""

    def cancel() -> None:
        task.cancel()

    call.on_closed = cancel


async def proposed(member: Member, kind: int, request: Any, identity: Identity | None) -> Any:
    """The result of a request that went through the log. Raises what it was refused with.

    Cancelled, it may be applied nevertheless.
    """
    future: asyncio.Future[Any] = member.loop.create_future()
    member.propose(kind, request.SerializeToString(), request, partial(settle, future), identity)
    return await future


class TaskStream:
    """A stream of answers that a task makes, at the client's pace; the request is one message. Ends with its call."""

    def __init__(self, member: Member, call: Call) -> None:
        self._member = member
        self._call = call
        self._task: asyncio.Task[None] | None = None
        self._drained = asyncio.Event()

    @property
    def _asked(self) -> bool:
        """Whether the request has come."""
        return self._task is not None

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._call.on_drain = self._drained.set
        self._task = spawn(self._member, work)

    def half_close(self) -> None:
        """The request is whole; the stream goes on."""

    def closed(self) -> None:
        """The stream is over, whoever ended it."""
        if self._task is not None:
            self._task.cancel()

    async def _room(self, most: int) -> None:
        """Return once no more than so many octets wait for the client."""
        while self._call.buffered > most:
            self._drained.clear()
            await self._drained.wait()
