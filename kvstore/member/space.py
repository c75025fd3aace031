"""Room on the disk: the quota, the file system, and the NOSPACE alarm that one of them being used up raises.

A request that adds data is refused once the quota is reached, as in etcd, and while the log's next segment or the
backend's headroom cannot be had. Both are taken ahead, so there is room left for what stays allowed: reads, deletes,
compactions, the alarm itself. The first refusal raises the alarm, which stops such requests on all members; a member
whose disk is short raises it by itself, for what fills its disk need not have come through it. Only a person clears it.
Before that, the log gives back what the backend no longer needs.
Faults assumed: other programs fill the same file system, and free it again, at any moment.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from kvstore.errors import error
from kvstore.member.alarms import Alarms
from kvstore.pb import etcd_pb2 as pb
from kvstore.storage import Backend, Log, StorageError

log = logging.getLogger(__name__)

# Looks in a row that found too little room: one may come just before a segment is given back.
PATIENCE = 3
# Looks between two tries to take the room again.
RETRY = 5


class Space:
    """One member's. All methods are the loop's."""

    def __init__(
        self,
        member_id: int,
        quota: int,
        backend: Backend,
        wal: Log,
        alarms: Alarms,
        *,
        raise_alarm: Callable[[pb.AlarmRequest, Callable[[], None]], None],
        give_back: Callable[[], None],
        in_thread: Callable[[Callable[[], None]], object],
        waiting: Callable[[], int],
    ) -> None:
        """quota: bytes of the backend.

        raise_alarm: puts the request into the log, and calls back when it is through or has failed. give_back: drops
        what can be dropped of the log. in_thread: runs what waits for the disk. waiting: bytes of the requests that
        may be applied yet.
        """
        self._member_id = member_id
        self._quota = quota
        self._backend = backend
        self._log = wal
        self._alarms = alarms
        self._raise_alarm = raise_alarm
        self._give_back = give_back
        self._in_thread = in_thread
        self._waiting = waiting
        # Bytes in use: measured at each commit, estimated by the requests since. Too many by those that were refused
        # or given up; without a quorum all are, and there is no commit.
        self._used = backend.size_in_use()
        self._short = 0
        self._raising = False

    def check(self, size: int) -> None:
        """Before a request that adds so many bytes. Raises NO_SPACE. Hot."""
        if self._alarms.no_space:
            raise error("NO_SPACE")
        self._used += size
        if self._used > self._quota:
            self._count_anew(size)
        if self._short >= PATIENCE:
            self._refuse("the file system is full")

    def admit(self, size: int) -> bool:
        """check() for requests that add so many bytes together; False, and nothing done, if it would refuse one."""
        if self._alarms.no_space or self._used + size > self._quota or self._short >= PATIENCE:
            return False
        self._used += size
        return True

    def _count_anew(self, size: int) -> None:
        """The estimate, this request in it, is beyond the quota: refuse if that is so. Raises NO_SPACE."""
        self._used = self._backend.size_in_use() + self._waiting()
        if self._used + size > self._quota:
            self._refuse(f"the backend's quota of {self._quota} bytes is used up")
        self._used += size

    def _refuse(self, reason: str) -> None:
        self._alarm(reason)
        raise error("NO_SPACE")

    def measure(self) -> None:
        """The backend was committed."""
        self._used = self._backend.size_in_use()

    def look(self) -> None:
        """Called with every tick: is there still room on the disk?"""
        if not self._log.space_short and not self._backend.space_short:
            if self._short >= PATIENCE:
                log.info("there is room on the disk again; clear the alarm with `alarm disarm`")
            self._short = 0
            return
        self._short += 1
        if self._short % RETRY == 1:
            self._give_back()
            self._in_thread(self._try_again)
        if self._short >= PATIENCE and not self._alarms.has(self._member_id, pb.NOSPACE):
            self._alarm("the file system is full")

    def _try_again(self) -> None:
        """In a thread: without this, room that was freed would only be noticed by the writes that are refused."""
        try:
            self._log.take_space()
            self._backend.take_space()
        except StorageError as problem:  # the disk failed for good: the next write meets it and ends the member
            log.warning("looking for space: %s", problem)

    def _alarm(self, reason: str) -> None:
        if self._raising:
            return
        self._raising = True
        log.warning("%s: raising the NOSPACE alarm", reason)
        request = pb.AlarmRequest(action=pb.AlarmRequest.ACTIVATE, memberID=self._member_id, alarm=pb.NOSPACE)
        self._raise_alarm(request, self._raised)

    def _raised(self) -> None:
        self._raising = False
