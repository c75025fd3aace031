"""A cluster of one master and no nodes inside one event loop: less memory, a faster start, the same data and flags.

Each part is made from its row of the table (rows.py), so a folder can be used by either way of starting, in turn.
Fault assumed: a part fails; then all of it ends, with that part's message.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any, Protocol

import click

from control.up import credentials
from control.up.cluster import Cluster
from control.up.plan import UpError
from control.up.rows import Row

log = logging.getLogger(__name__)

_STORE_SECONDS = 30.0


@contextlib.asynccontextmanager
async def running(cluster: Cluster) -> AsyncIterator[asyncio.Future[None]]:
    """The cluster for the length of the block. The future ends, with what went wrong, when a part does.

    Raises UpError, ConfigError, OSErrors, StatusError.
    """
    plan = cluster.plan
    if plan is None or len(plan.masters) != 1 or plan.node_count:
        raise UpError("--in-process takes one master and no nodes; leave it out, or choose another --data-dir")
    now = datetime.now(UTC)
    if plan.etcd is None:
        credentials.ensure_store(cluster.folder, now)
    credentials.ensure_rest(cluster.folder, plan, now)
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    first = [row for row in cluster.rows if row.role in ("store", "apiserver")]
    async with contextlib.AsyncExitStack() as parts:
        for row in first:
            await parts.enter_async_context(_PARTS[row.role](_flags(row), failed))
        # The API serves meanwhile: who only wants that need not wait for the others to be loaded.
        rest = asyncio.create_task(_follow(cluster.rows[len(first) :], failed))
        try:
            yield failed
        finally:
            rest.cancel()
            await asyncio.gather(rest, return_exceptions=True)


async def _follow(rows: list[Row], failed: asyncio.Future[None]) -> None:
    """Run the other parts until cancelled."""
    try:
        async with contextlib.AsyncExitStack() as parts:
            for row in rows:
                await parts.enter_async_context(_PARTS[row.role](_flags(row), failed))
            await asyncio.Event().wait()
    except Exception as problem:
        if not failed.done():
            failed.set_exception(UpError(f"the cluster cannot be completed: {problem}"))


def _flags(row: Row) -> dict[str, Any]:
    """The values of a row's flags, read by its own command."""
    from kvstore.cli.main import cli

    context = click.Context(cli)
    command = cli.get_command(context, row.role)
    if command is None:
        raise UpError(f"there is no command {row.role}")
    # Not the environment: what is set there is for commands that the user types.
    made = command.make_context(row.role, list(row.command[1:]), parent=None, auto_envvar_prefix=None)
    return dict(made.params)


@contextlib.asynccontextmanager
async def _store(flags: dict[str, Any], failed: asyncio.Future[None]) -> AsyncIterator[None]:
    from kvstore.cli import store_etcd_flags
    from kvstore.cli.store_settings import config_of
    from kvstore.member.process import run
    from kvstore.services.all import register_all

    flags.pop("config_file")
    store_etcd_flags.take_out(flags)
    config = config_of(flags)
    end = asyncio.Event()
    task = asyncio.create_task(run(config, register_all, end), name="store")
    task.add_done_callback(lambda done: _failed(failed, "the store", done))
    try:
        await _listening(int(config.listen_client_urls[0].rpartition(":")[2]), task)
        yield
    finally:
        # From here on its end is what we want.
        failed.cancel()
        end.set()
        await asyncio.gather(task, return_exceptions=True)


async def _listening(port: int, task: asyncio.Task[int]) -> None:
    """Return when the port takes connections. Raises what ended the task."""
    deadline = time.monotonic() + _STORE_SECONDS
    while time.monotonic() < deadline:
        if task.done():
            raise UpError(f"the store ended at its start: {task.exception() or 'see the log'}")
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.005)
    raise UpError("the store does not take connections")


@contextlib.asynccontextmanager
async def _apiserver(flags: dict[str, Any], failed: asyncio.Future[None]) -> AsyncIterator[None]:
    from control.apiserver.process import ApiServer
    from control.cli.apiserver_settings import settings_of

    server = ApiServer(settings_of(flags))
    await server.start()
    try:
        yield
    finally:
        await server.stop()


@contextlib.asynccontextmanager
async def _controllers(flags: dict[str, Any], failed: asyncio.Future[None]) -> AsyncIterator[None]:
    from control.cli.controllers_settings import settings_of
    from control.controllers.running.process import Controllers

    async with _brain(Controllers(settings_of(flags)), "the controllers", failed):
        yield


@contextlib.asynccontextmanager
async def _scheduler(flags: dict[str, Any], failed: asyncio.Future[None]) -> AsyncIterator[None]:
    from control.cli.scheduler import settings_of
    from control.scheduler.process import SchedulerProcess

    async with _brain(SchedulerProcess(settings_of(flags)), "the scheduler", failed):
        yield


class _Process(Protocol):
    """What controllers and scheduler have in common."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    @property
    def ended(self) -> asyncio.Task[None]: ...


@contextlib.asynccontextmanager
async def _brain(process: _Process, what: str, failed: asyncio.Future[None]) -> AsyncIterator[None]:
    try:
        await process.start()
        process.ended.add_done_callback(lambda done: _failed(failed, what, done))
        yield
    finally:
        await process.stop()


def _failed(failed: asyncio.Future[None], what: str, task: asyncio.Task[Any]) -> None:
    if failed.done() or task.cancelled():
        return
    problem = task.exception()
    failed.set_exception(UpError(f"{what} ended" + (f": {problem}" if problem else "")))


_PARTS: dict[str, Callable[[dict[str, Any], asyncio.Future[None]], contextlib.AbstractAsyncContextManager[None]]] = {
    "store": _store,
    "apiserver": _apiserver,
    "controllers": _controllers,
    "scheduler": _scheduler,
}
