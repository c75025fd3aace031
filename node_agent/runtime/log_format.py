"""Container log lines as the CRI has them: `2026-01-02T03:04:05.000000006Z stdout F text`. Pure.

`F` ends a line, `P` is a piece of one that is longer than a line may be or was not ended yet.
Source: the CRI logging design; what kubectl logs and log collectors read.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

MAX_LINE = 16 * 1024
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)  # noqa: UP017  `timezone` is what the shim has imported anyway
_seconds_text: tuple[int, str] = (-1, "")


def stamp(nanoseconds: int) -> str:
    """RFC 3339 in UTC with nine digits."""
    global _seconds_text
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    if seconds != _seconds_text[0]:
        _seconds_text = (seconds, (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S"))
    return f"{_seconds_text[1]}.{rest:09d}Z"


def record(nanoseconds: int, stream: str, text: bytes, *, full: bool = True) -> bytes:
    """One line of the file; `text` holds no newline."""
    return f"{stamp(nanoseconds)} {stream} {'F' if full else 'P'} ".encode() + text + b"\n"


class LineCutter:
    """Cuts one stream into records; keeps what is not a whole line yet, at most MAX_LINE bytes."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self._rest = b""

    def feed(self, data: bytes, nanoseconds: int) -> bytes:
        """The records that `data` completes."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        records = [piece for line in lines for piece in self._pieces(line, nanoseconds, ended=True)]
        if len(self._rest) >= MAX_LINE:
            whole = len(self._rest) - len(self._rest) % MAX_LINE
            records += self._pieces(self._rest[:whole], nanoseconds, ended=False)
            self._rest = self._rest[whole:]
        return b"".join(records)

    def end(self, nanoseconds: int) -> bytes:
        """The record of a last line without its newline, if there is one."""
        rest, self._rest = self._rest, b""
        return record(nanoseconds, self.stream, rest) if rest else b""

    def _pieces(self, line: bytes, nanoseconds: int, *, ended: bool) -> list[bytes]:
        starts = range(0, max(1, len(line)), MAX_LINE)
        last = starts[-1]
        return [record(nanoseconds, self.stream, line[at : at + MAX_LINE], full=ended and at == last) for at in starts]
