"""`fluyt snapshot`; here its `save`: one member's data in one file, checked and durable, or no file at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import BinaryIO

import click

from kvstore.cli.arguments import text_arguments
from kvstore.cli.console import Console, connected, explain
from kvstore.cli.exits import INTERRUPTED, CommandError, bad_args
from kvstore.cli.grammar import Command, SubGroup
from kvstore.cli.output.printer import emit
from kvstore.cli.progress import bar
from kvstore.cli.signals import Stop
from kvstore.cli.snapshot_file import restore, status
from kvstore.client.errors import ClientError


@click.group(cls=SubGroup)
def snapshot() -> None:
    """Snapshots of a member's data."""


snapshot.add_command(status)
snapshot.add_command(restore)


@snapshot.command(cls=Command, examples="fluyt snapshot save backup.db --endpoints 127.0.0.1:2379")
@text_arguments("<file>", files=True)
@connected
async def save(console: Console, arguments: tuple[str, ...]) -> int:
    """Save a snapshot of one member to <file>."""
    if len(arguments) != 1:
        raise bad_args("snapshot save expects one argument")
    if len(console.endpoints) != 1:
        members = " ".join(console.endpoints)
        message = f"snapshot must be requested to one selected node, not multiple [{members}]: choose with --endpoints"
        raise CommandError(message, INTERRUPTED)
    path = _destination(arguments[0])
    async with Stop() as stop:
        try:
            await stop.unless(_save(console, path))
        except (ClientError, OSError) as problem:
            reason = explain(problem) if isinstance(problem, ClientError) else f"{path}: {problem.strerror}"
            raise _not_saved(reason) from problem
        if stop.came:
            return stop.code
    emit(f"Snapshot saved at {arguments[0]}")
    return 0


def _destination(word: str) -> Path:
    """The file to make or replace, behind all links. CommandError for anything but a file, which stays as it is."""
    if not word:
        raise _not_saved("the file's name is empty")
    path = Path(os.path.realpath(word))
    if os.path.lexists(path) and not path.is_file():
        raise _not_saved(f"{word} is there, and is no regular file")
    return path


def _not_saved(reason: str) -> CommandError:
    return CommandError(f"snapshot not saved: {reason}", INTERRUPTED)


async def _save(console: Console, path: Path) -> None:
    """Fetch into a new file of our own beside it, which nobody else can have opened or linked; then rename."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            await _fetch(console, file)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    _sync_directory(path.parent)


async def _fetch(console: Console, file: BinaryIO) -> None:
    """Write the stream to the file, and to the disk."""
    with bar("snapshot") as progress:
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
