"""Calls that take several steps: the member's callbacks as things to await, and a task that ends with its call."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from kvstore.auth.types import Identity
from kvstore.errors import Code, EtcdError
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


async def linearizable(member: Member) -> None:
    """Return once what is applied here is at least as new as the moment of the call. Raises what the member raises."""
    future: asyncio.Future[None] = member.loop.create_future()

    def done(problem: EtcdError | None) -> None:
        if future.done():
            return
        if problem is None:
            future.set_result(None)
        else:
            future.set_exception(problem)

    member.linearizable(done)
    await future


async def proposed(member: Member, kind: int, request: Any, identity: Identity | None) -> Any:
    """The result of a request that went through the log. Raises what it was refused with.

    Cancelled, it may be applied nevertheless.
    """
    future: asyncio.Future[Any] = member.loop.create_future()

    def done(result: Any, problem: EtcdError | None) -> None:
        if future.done():
            return
        if problem is None:
            future.set_result(result)
        else:
            future.set_exception(problem)

    member.propose(kind, request.SerializeToString(), request, done, identity)
    return await future
