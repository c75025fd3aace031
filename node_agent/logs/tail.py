"""The end of a log file, found from behind in blocks. Blocking, bounded by the file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from node_agent.logs.lines import parse

_BLOCK = 64 << 10
# So much of a file's end is looked at for its last lines.
_READ = 4 * _BLOCK


def offset_of_last(file: BinaryIO, lines: int) -> int:
    """Where the last `lines` lines begin (pieces of one line count once); 0 when there are fewer."""
    size = file.seek(0, os.SEEK_END)
    if lines <= 0:
        return size
    position, tail, block = size, b"", _BLOCK
    starts: list[int] = []
    while position > 0:
        step = min(block, position)
        block *= 2
        position -= step
        file.seek(position)
        tail = file.read(step) + tail
        starts = _starts(tail, position)
        if len(starts) > lines:
            return starts[-lines]
        if len(tail) > _BLOCK * 1024:
            return starts[0] if starts else position
    return starts[-lines] if len(starts) >= lines else 0


def _starts(data: bytes, base: int) -> list[int]:
    """Offsets of the lines that begin in `data`; a leading fragment is none unless the file begins here."""
    found: list[int] = []
    at, begins = 0, True
    if base > 0:
        at = data.find(b"\n") + 1
        if at == 0:
            return []
        begins = False  # we cannot tell whether the first whole record begins a line
    while at < len(data):
        end = data.find(b"\n", at)
        end = len(data) if end < 0 else end
        if begins:
            found.append(base + at)
        line = parse(data[at:end])
        begins = line is None or line.whole
        at = end + 1
    return found


def last_lines(path: Path, lines: int, most: int) -> str:
    """The text of the last lines, at most that many bytes of it; "" if the log cannot be read."""
    try:
        with path.open("rb") as file:
            begin, end = offset_of_last(file, lines), file.seek(0, os.SEEK_END)
            file.seek(max(begin, end - _READ))
            records = file.read(_READ).split(b"\n")
            if end - begin > _READ:
                del records[0]  # the end of one
    except OSError:
        return ""
    parsed = (parse(record) for record in records if record)
    text = b"".join(line.shown(False) for line in parsed if line is not None)
    return text[-most:].decode(errors="replace").rstrip("\n")
