"""`fluyt lock`: hold a lock until a signal, or while a command runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence

import click

from kvstore.cli.arguments import Int64, text_arguments
from kvstore.cli.console import Console, connected
from kvstore.cli.exits import CommandError, bad_args
from kvstore.cli.grammar import Command
from kvstore.cli.signals import Stop
from kvstore.client.lock import Lock


@click.command(
    cls=Command,
    examples="""
    fluyt lock printer                      # prints the key; holds the lock until Ctrl-C
    fluyt lock printer -- ./print.sh page   # holds it while the command runs; exits with its code
    """,
)
@text_arguments("<name> [-- <command>...]")
@click.option("--ttl", type=Int64(), default=10, help="Seconds until a holder that fell silent has lost the lock.")
@connected
async def lock(console: Console, arguments: tuple[str, ...], ttl: int) -> int:
    """Wait for a named lock and hold it.

    The command finds the lock's key in ETCD_LOCK_KEY and its fencing token in ETCD_LOCK_REV: pass the token on to
    what the lock protects, which can then refuse a holder that was too slow. If the lock is lost meanwhile, the
    command gets SIGTERM.
    """
    if not arguments:
        raise bad_args("lock takes a lock name argument and an optional command to execute")
    name, *command = arguments
    async with Stop() as stop:
        held = console.client.lock(name, ttl)
        if await stop.unless(held.acquire()) is None:
            return 1
        try:
            return await (_run(held, command, stop) if command else _hold(console, held, stop))
        finally:
            await held.release()


async def _hold(console: Console, held: Lock, stop: Stop) -> int:
    answer = await console.client.range(held.key)
    if not answer.kvs:
        raise CommandError("lock lost on init")
    console.printer.get(answer)
    if await stop.unless(_lost(held)):
        raise CommandError("session expired: the lock is lost")
    return 0


async def _lost(held: Lock) -> bool:
    await held.wait_lost()
    return True


async def _run(held: Lock, command: Sequence[str], stop: Stop) -> int:
    """Run the command under the lock; its exit code, 128 + signal if one ended it."""
    facts = {"ETCD_LOCK_KEY": os.fsdecode(held.key), "ETCD_LOCK_REV": str(held.header.revision)}
    try:
        process = await asyncio.create_subprocess_exec(*command, env={**facts, **os.environ, **facts})
    except OSError as problem:
        raise CommandError(f"cannot run {command[0]}: {problem.strerror}") from problem
    lost = asyncio.create_task(_terminate_when_lost(held, process))
    stopping = asyncio.create_task(_pass_on(stop, process))
    try:
        code = await process.wait()
    finally:
        lost.cancel()
        stopping.cancel()
    if code:
        reason = f"signal: {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        raise CommandError(reason, code if code > 0 else 128 - code)
    return 0


async def _pass_on(stop: Stop, process: asyncio.subprocess.Process) -> None:
    """SIGTERM is the command's, too. Ctrl-C is not passed on: the terminal gives it to both."""
    while True:
        if await stop.next() == signal.SIGTERM:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()


async def _terminate_when_lost(held: Lock, process: asyncio.subprocess.Process) -> None:
    await held.wait_lost()
    click.echo("Error: the lock is lost; the command is told to stop (SIGTERM)", err=True)
    process.terminate()
