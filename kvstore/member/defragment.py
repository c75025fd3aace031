"""Defragment: the backend's file gives its free pages back while the member goes on serving.

The steps are storage.shrinking's; this runs the long ones in a thread and the short ones between the turns of the loop.
What holds the loop is a slice of rows, or the commit of a thousand of them. While the copy takes the file's name
nothing is committed, which costs nothing but a slightly longer log.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from kvstore.member.awaited import committed
from kvstore.storage import StorageFailed
from kvstore.storage.shrinking import Shrinking, discard

if TYPE_CHECKING:
    from kvstore.member.member import Member

log = logging.getLogger(__name__)

SLICE_ROWS = 300
FILE_NAME = "defragment.mdb"


class Defragmenter:
    """Shrinks one member's backend; who asks while it does waits for that one."""

    def __init__(self, member: Member, directory: Path) -> None:
        """directory: where the copy is made, on the backend's file system."""
        self._member = member
        self._path = directory / FILE_NAME
        self._running: asyncio.Task[None] | None = None
        discard(self._path)

    async def run(self) -> None:
        """Return when the file is as small as it gets. StorageError if the disk has no room for the copy."""
        if self._running is None:
            self._running = self._member.loop.create_task(self._run())
            self._running.add_done_callback(self._ended)
        await asyncio.shield(self._running)

    def close(self) -> None:
        """End what is under way."""
        if self._running is not None:
            self._running.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running = None
        if not task.cancelled():
            task.exception()

    async def _run(self) -> None:
        member, backend = self._member, self._member.state.backend
        before = backend.size()
        shrinking = backend.shrink(self._path)
        try:
            await self._shrink(shrinking)
        except StorageFailed as problem:
            member.failed(problem)
            raise
        finally:
            shrinking.abandon()
            self._tell()
        log.info("defragmented: %d bytes are now %d", before, backend.size())

    def _tell(self) -> None:
        """The member ends if the backend was stopped, by whatever it was: once the copy is the file, any error does."""
        problem = self._member.state.backend.failure
        if problem is not None and not self._member.stopping:
            self._member.failed(problem)

    async def _shrink(self, shrinking: Shrinking) -> None:
        loop, committer = self._member.loop, self._member.committer
        await committed(self._member)
        await loop.run_in_executor(None, shrinking.copy)
        await self._catch_up(shrinking)
        shrinking.commit()
        await loop.run_in_executor(None, shrinking.sync)
        committer.hold(True)
        try:
            while committer.busy:
                await asyncio.sleep(0.001)
            await self._catch_up(shrinking)
            # From here to the commit in one turn: the copy is the state at exactly this index.
            self._member.state.save_position()
            while not shrinking.catch_up(SLICE_ROWS):
                pass
            shrinking.commit()
            await loop.run_in_executor(None, shrinking.take_name)
            await self._catch_up(shrinking)
            old = shrinking.switch()
        finally:
            committer.hold(False)
        committer.flush(lambda: None)
        await loop.run_in_executor(None, old.retire)

    async def _catch_up(self, shrinking: Shrinking) -> None:
        """Returns in the turn in which nothing is left to bring over."""
        while not shrinking.catch_up(SLICE_ROWS):
            await asyncio.sleep(0)
