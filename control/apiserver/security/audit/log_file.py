"""The file of the audit log: JSON lines, written by a thread of its own, turned over by size, number and age.

Invariants: whoever has something to write never waits (a full queue drops the event and counts it, and the server's own
log says how many); a line is whole or not there. Faults assumed: a full disk or a vanished folder: the
server goes on, its own log says so, and the audit log goes on when it can.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson

from control.api.schema import Object

log = logging.getLogger(__name__)
_QUEUED = 10_000
_QUEUED_BYTES = 64 << 20
_LINES_A_WRITE = 500
_STOP = None


class AuditFile:
    """One file and its predecessors, NAME-<time>.EXT."""

    def __init__(
        self,
        path: Path,
        max_bytes: int = 100 << 20,
        max_backups: int = 0,
        max_age: timedelta = timedelta(0),
        clock: Callable[[], float] = time.time,
    ) -> None:
        """max_bytes: it is turned over before it has more, 0: never; max_backups, max_age: 0 keeps all. OSErrors."""
        self._path = path
        self._max_bytes = max_bytes
        self._max_backups = max_backups
        self._max_age = max_age
        self._clock = clock
        self._queue: queue.Queue[bytes | None] = queue.Queue(_QUEUED)
        self._bytes = 0
        self._lock = threading.Lock()
        self.dropped = 0
        self._reported = 0
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = _open(path)
        self._thread = threading.Thread(target=self._run, name="audit log", daemon=True)
        self._thread.start()

    def write(self, event: Object) -> None:
        """Hand an event over; returns at once."""
        line = orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE)
        with self._lock:
            full = self._bytes + len(line) > _QUEUED_BYTES
            if not full:
                with contextlib.suppress(queue.Full):
                    self._queue.put_nowait(line)
                    self._bytes += len(line)
                    return
            self.dropped += 1

    def close(self) -> None:
        """Write what waits, then close the file. Blocks until it is done."""
        if self._thread.is_alive():
            self._queue.put(_STOP)
            self._thread.join()
        self._file.close()

    def _run(self) -> None:
        while True:
            lines, stop = self._next()
            if lines:
                try:
                    self._write(b"".join(lines))
                except OSError as problem:
                    self._lost(len(lines), problem)
            self._complain()
            if stop:
                return

    def _complain(self) -> None:
        if self.dropped > self._reported:
            log.error("audit log %s: %d events were dropped so far: the disk is too slow", self._path, self.dropped)
            self._reported = self.dropped

    def _next(self) -> tuple[list[bytes], bool]:
        """What waits, at most _LINES_A_WRITE; blocks for the first."""
        lines: list[bytes] = []
        stop, line = False, self._queue.get()
        while True:
            if line is _STOP:
                stop = True
                break
            lines.append(line)
            if len(lines) >= _LINES_A_WRITE or self._queue.empty():
                break
            line = self._queue.get_nowait()
        with self._lock:
            self._bytes -= sum(map(len, lines))
        return lines, stop

    def _write(self, data: bytes) -> None:
        if self._file.closed:
            self._file = _open(self._path)
        if self._max_bytes and self._file.tell() and self._file.tell() + len(data) > self._max_bytes:
            self._turn_over()
        self._file.write(data)
        self._file.flush()

    def _turn_over(self) -> None:
        self._file.close()
        now = datetime.fromtimestamp(self._clock(), UTC)
        stamp = now.strftime("%Y-%m-%dT%H-%M-%S.%f")
        os.replace(self._path, self._path.with_name(f"{self._path.stem}-{stamp}{self._path.suffix}"))
        self._file = _open(self._path)
        self._remove_old(now)

    def _remove_old(self, now: datetime) -> None:
        backups = sorted(self._path.parent.glob(f"{self._path.stem}-*{self._path.suffix}"), reverse=True)
        for number, backup in enumerate(backups):
            age = timedelta(seconds=now.timestamp() - backup.stat().st_mtime)
            if (self._max_backups and number >= self._max_backups) or (self._max_age and age > self._max_age):
                backup.unlink(missing_ok=True)

    def _lost(self, lines: int, problem: OSError) -> None:
        log.error("audit log %s: %d events are lost: %s", self._path, lines, problem.strerror)
        with contextlib.suppress(OSError):
            self._file.close()


def _open(path: Path) -> io.BufferedWriter:
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    return open(fd, "ab")
