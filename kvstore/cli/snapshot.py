"""`fluyt snapshot`; here its `save`: one member's data in one file, checked and durable, or no file at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import BinaryIO

import click

from kvstore.cli.arguments import text_arguments
from kvstore.cli.console import Console, connected, explain
from kvstore.cli.exits import INTERRUPTED, CommandError, bad_args
from kvstore.cli.grammar import Command, SubGroup
from kvstore.cli.output.printer import emit
from kvstore.cli.progress import bar
from kvstore.cli.snapshot_file import restore, status
from kvstore.client.errors import ClientError


@click.group(cls=SubGroup)
def snapshot() -> None:
    """Snapshots of a member's data."""


snapshot.add_command(status)
snapshot.add_command(restore)


@snapshot.command(cls=Command, examples="fluyt snapshot save backup.db --endpoints 127.0.0.1:2379")
@text_arguments("<file>")
@connected
async def save(console: Console, arguments: tuple[str, ...]) -> None:
    """Save a snapshot of one member to <file>."""
    if len(arguments) != 1:
        raise bad_args("snapshot save expects one argument")
    if len(console.endpoints) != 1:
        members = " ".join(console.endpoints)
        message = f"snapshot must be requested to one selected node, not multiple [{members}]: choose with --endpoints"
        raise CommandError(message, INTERRUPTED)
    path = Path(arguments[0])
    part = path.with_name(path.name + ".part")
    try:
        await _fetch(console, part)
        os.replace(part, path)
        _sync_directory(path.parent)
    except (ClientError, OSError) as problem:
        reason = explain(problem) if isinstance(problem, ClientError) else f"{problem.filename}: {problem.strerror}"
        raise CommandError(f"snapshot not saved: {reason}", INTERRUPTED) from problem
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    emit(f"Snapshot saved at {arguments[0]}")


async def _fetch(console: Console, part: Path) -> None:
    """Write the stream to the file, which only its owner may read: the store's secrets are in it."""
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file, bar("snapshot") as progress:
        async for response in console.client.maintenance.snapshot(console.endpoints[0]):
            file.write(response.blob)
            progress(file.tell(), file.tell() + response.remaining_bytes)
        _sync(file)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_directory(directory: Path) -> None:
    """The new name is durable once its directory is."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
