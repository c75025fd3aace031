"""The container's log: what both of its streams say, in the CRI's format, into a file that can be reopened."""

from __future__ import annotations

import os
import time

from node_agent.runtime.log_format import LineCutter


class LogFile:
    """A path that cannot be written (disk full, folder gone) costs lines, never the container; they are counted."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = -1
        self._cutters: dict[str, LineCutter] = {}
        self.lost = 0
        self.reopen()

    def reopen(self) -> None:
        """Open the path anew; raises OSError, and then goes on with the file it has."""
        if not self._path:
            return
        os.makedirs(os.path.dirname(self._path), exist_ok=True)
        descriptor = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o640)
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = descriptor

    def write(self, stream: str, data: bytes) -> None:
        cutter = self._cutters.setdefault(stream, LineCutter(stream))
        self._append(cutter.feed(data, time.time_ns()))

    def end(self) -> None:
        for cutter in self._cutters.values():
            self._append(cutter.end(time.time_ns()))

    def _append(self, records: bytes) -> None:
        if self._descriptor < 0 or not records:
            return
        try:
            written = os.write(self._descriptor, records)
            if written < len(records):
                os.write(self._descriptor, records[written:])
        except OSError:
            self.lost += records.count(b"\n")
