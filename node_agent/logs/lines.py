"""Container log lines as the CRI has them, read back. Pure; see node_agent/runtime/log_format.py for the format."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """time: RFC 3339 with nanoseconds, as it stands in the file. whole: the text ends with this record."""

    time: bytes
    stream: bytes
    whole: bool
    text: bytes

    def shown(self, timestamps: bool, begins: bool = True) -> bytes:
        """As `kubectl logs` prints it. begins: it is the first piece of its line."""
        start = self.time + b" " if timestamps and begins else b""
        return start + self.text + (b"\n" if self.whole else b"")


def parse(record: bytes) -> Line | None:
    """A record without its newline; None when it is damaged."""
    parts = record.split(b" ", 3)
    if len(parts) < 3 or parts[1] not in (b"stdout", b"stderr") or not parts[0][:1].isdigit():
        return None
    return Line(parts[0], parts[1], parts[2][:1] == b"F", parts[3] if len(parts) == 4 else b"")


def sortable(time: bytes) -> bytes:
    """A time in UTC with the digits of its fraction filled up, so that bytes compare as times do."""
    seconds, _, fraction = time.rstrip(b"Z").partition(b".")
    return seconds + b"." + fraction.ljust(9, b"0")
