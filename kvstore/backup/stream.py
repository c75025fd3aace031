"""The Snapshot call's stream: a member's state as a bbolt file in blobs, then the SHA-256 of all of them.

The file is made by another process from the last commit, in a place without a name, and sent as fast as the client
takes it. The loop only passes blobs on. What is held: one file on the disk, one blob in memory.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

from kvstore.backup.making import SnapshotMaker
from kvstore.storage import Backend

BLOB_BYTES = 64 * 1024
_READ_BYTES = 16 * BLOB_BYTES

# Sends one blob; how many bytes of the file are still to come.
Send = Callable[[bytes, int], Awaitable[None]]


async def stream_snapshot(backend: Backend, directory: Path, send: Send) -> None:
    """Make and send the snapshot of the last commit. OSError when the disk is full, and what `send` raises."""
    loop = asyncio.get_running_loop()
    file = TemporaryFile(dir=directory)  # noqa: SIM115 - closed by a thread
    try:
        await _send_all(file, await _made(SnapshotMaker(backend, file.fileno())), send)
    finally:
        # It has no name: closing it frees its blocks, which takes the system some 100 ms for 300 MB.
        loop.run_in_executor(None, file.close)


async def _made(maker: SnapshotMaker) -> int:
    """The size of the file once it is whole."""
    try:
        return await asyncio.get_running_loop().run_in_executor(None, maker.make)
    except asyncio.CancelledError:
        maker.give_up()
        raise


async def _send_all(file: BinaryIO, left: int, send: Send) -> None:
    loop = asyncio.get_running_loop()
    digest = hashlib.sha256()
    while left:
        data = await loop.run_in_executor(None, _read, file, digest.update)
        for start in range(0, len(data), BLOB_BYTES):
            blob = data[start : start + BLOB_BYTES]
            left -= len(blob)
            await send(blob, left)
    await send(digest.digest(), 0)


def _read(file: BinaryIO, update: Callable[[bytes], object]) -> bytes:
    data = file.read(_READ_BYTES)
    if not data:
        raise OSError(os.strerror(5), "snapshot file ended early")
    update(data)
    return data
