"""Giving back pages of a mapped file: what was read through the map counts as this process's memory.

The pages stay in the page cache, so the next read of one costs a minor fault (below a microsecond), not the disk; the
kernel takes them back only when somebody needs the memory. Without this a member's resident size grows to that of its
backend, and limits on memory (cgroups do not count clean cache so, people and `top` do) see what is nobody's.
Only for maps that are shared and never written through: there MADV_DONTNEED loses nothing (madvise(2)).
"""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def mapped_bytes() -> int:
    """Bytes of files that this process has mapped and touched; 0 where there is no /proc."""
    try:
        fields = Path("/proc/self/statm").read_text(encoding="ascii").split()
    except OSError:
        return 0
    return int(fields[2]) * mmap.PAGESIZE


def release(path: Path) -> bool:
    """Give back the pages of every shared map of the file; whether all of them could be.

    Nobody may unmap the file meanwhile: its addresses could by then be something else's.
    """
    name = os.fsencode(os.path.realpath(path))
    return all(_libc.madvise(start, length, mmap.MADV_DONTNEED) == 0 for start, length in _maps(name))


def _maps(name: bytes) -> list[tuple[int, int]]:
    """(address, length) of the shared, unwritable maps of a file."""
    try:
        lines = Path("/proc/self/maps").read_bytes().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        addresses, rights, _, _, _, *rest = line.split(None, 5)
        if rest == [name] and rights == b"r--s":
            start, end = (int(part, 16) for part in addresses.split(b"-"))
            found.append((start, end - start))
    return found
