"""Removes large files without holding the event loop.

A file's name is gone at once; its blocks are freed when its last descriptor is closed, which takes the system some
100 ms for 300 MB: a thread does that.
Faults assumed: the file is not there; the loop's threads have ended already (then the caller waits).
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path


def discard(loop: asyncio.AbstractEventLoop, path: Path) -> None:
    """Remove the file at `path`, if there is one; the name is free when this returns. OSError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        path.unlink(missing_ok=True)
    finally:
        close(loop, descriptor)


def close(loop: asyncio.AbstractEventLoop, descriptor: int) -> None:
    """Close the descriptor, perhaps the last one of a file that has no name, in a thread."""
    try:
        loop.run_in_executor(None, os.close, descriptor)
    except RuntimeError:  # the loop ends
        os.close(descriptor)
