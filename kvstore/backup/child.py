"""Writes a member's snapshot as a process of its own: the member's event loop waits for none of it.

`python -m kvstore.backup.child data.mdb FD`, run by making.py: reads the last commit of that backend, which goes on
being written by its member, and writes the bbolt file to the open descriptor. Says BEGUN once it holds its view, then
how many octets the file has.
Faults assumed: the member ends first (then nobody reads the file, which has no name); a full disk, said as `error` and
the system's number for it.
"""

from __future__ import annotations

import contextlib
import os
import sys

from kvstore.backup.writing import write_snapshot
from kvstore.storage.copying import open_view

BEGUN = "begun"
_NICE = 10
_BUFFER = 1 << 20


def main(path: str, descriptor: str) -> int:
    """Exit code 0 once the file is whole."""
    _step_back()
    try:
        with open_view(path, beside_its_writer=True) as view, open(int(descriptor), "r+b", _BUFFER) as file:
            _say(BEGUN)
            size = write_snapshot(view, file)
    except OSError as problem:
        _say(f"error {problem.errno}")
        return 1
    _say(str(size))
    return 0


def _step_back() -> None:
    """Who serves clients goes first: this is work for the time that they leave."""
    with contextlib.suppress(OSError):  # where that is forbidden, it is less polite
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        os.nice(_NICE)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
