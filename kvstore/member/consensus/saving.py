"""What Raft wants saved: written where it comes, synced together, and what it promises said once all of it is durable.

Faults assumed: a full disk. What it did not take is kept and tried again; until then nothing that follows is written,
and nobody is told anything that rests on it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from kvstore.member.disk.log_sync import LogSync
from kvstore.raft.node import RawNode
from kvstore.raft.types import HardState, Message, Ready, size_of
from kvstore.storage.errors import NoSpace
from kvstore.storage.log import Log

log = logging.getLogger(__name__)


class Saving:
    """One member's log, on behalf of its Raft.

    under_way: what the disk has been asked to make durable. written: what came since, for the next sync.
    unwritten: what the full disk has not taken yet.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        raw: RawNode,
        wal: Log,
        send: Callable[[Sequence[Message]], None],
        *,
        durable: Callable[[], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """send: gives messages to the peer links.

        durable: a sync has ended and its promises are given. failed: the disk refused, or Raft's own rules are broken.
        """
        self._raw = raw
        self._wal = wal
        self._send = send
        self._then = durable
        self._failed = failed
        self.disk = LogSync(loop, wal, durable=self._durable, failed=failed)
        self.under_way: list[Ready] = []
        self.written: list[Ready] = []
        self.unwritten: Ready | None = None
        self._is_full = False  # and it was said
        self._hard_state: HardState | None = None

    def take(self, ready: Ready) -> bool:
        """Write what it has for the log, and give its promises in turn. False: the disk is full, nothing is written."""
        if ready.hard_state is not None:
            self._hard_state = ready.hard_state
        # A newer commit index alone is not worth a write: a restart learns it again from the leader.
        if ready.must_sync:
            try:
                self._wal.append(ready.entries, self._hard_state)
            except NoSpace as problem:
                self._keep(ready, problem)
                return False
            self._is_full = False
            self.written.append(ready)
        elif self.written or self.under_way:
            self.written.append(ready)  # its promises may not overtake those before it
        elif ready.messages_after_save:
            self._send(ready.messages_after_save)  # there was nothing to save
        return True

    def take_back(self) -> Ready | None:
        """What is to be tried again."""
        ready, self.unwritten = self.unwritten, None
        return ready

    def _keep(self, ready: Ready, problem: NoSpace) -> None:
        self.unwritten = replace(ready, messages=[])  # these have left
        if not self._is_full:
            log.error("%s; this member waits until there is space", problem)
        self._is_full = True

    def sync(self, busy: bool) -> None:
        """Begin to make durable what was written; not while another sync is under way. busy: as in LogSync.start."""
        self.under_way, self.written = self.written, []
        size = 0
        for ready in self.under_way:
            size += size_of(ready.entries)
        self.disk.start(size, busy)

    def installed(self, ready: Ready) -> None:
        """Its snapshot is in place of the log, and its hard state there with it."""
        self._hard_state = None  # the log goes on from its own
        self._saved(ready)

    def _saved(self, ready: Ready) -> None:
        self._raw.saved(ready)
        if ready.messages_after_save:
            self._send(ready.messages_after_save)

    def _durable(self) -> None:
        done, self.under_way = self.under_way, []
        try:
            for ready in done:
                self._saved(ready)
        except Exception as problem:  # going on could break a promise
            self._failed(problem)
        self._then()
