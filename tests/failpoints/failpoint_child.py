"""A process that works on a log and a backend until a failpoint ends it; says what is durable.

    python failpoint_child.py FOLDER     points: FLUYT_FAILPOINTS
Prints, a line each: "log N" once the entries up to N are behind sync(), "backend N" once the row N is.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from kvstore import failpoints
from kvstore.raft.types import Entry, HardState, SnapshotMeta
from kvstore.storage import Backend, Log

ENTRIES = 150


def write_log(folder: Path) -> None:
    """Entries in small segments, cut now and then."""
    log = Log.create(folder / "log", metadata=b"child", segment_bytes=4096)
    for index in range(1, ENTRIES + 1):
        log.append([Entry(1, index, 0, b"%d" % index * 40)], HardState(1, 0, index))
        log.sync()
        print(f"log {index}", flush=True)
        if index % 20 == 0:
            log.set_snapshot(SnapshotMeta(index, 1))
            log.compact(index)
            log.sync()
    log.close()


def write_backend(folder: Path) -> None:
    """Rows, a commit each; then a copy takes the backend's place."""
    (folder / "backend").mkdir()
    backend = Backend.open(folder / "backend", map_bytes=1 << 24, headroom_bytes=1 << 20)
    rows = backend.table("rows")
    for number in range(1, 6):
        rows.put(b"%d" % number, b"value")
        backend.commit()
        backend.sync()
        print(f"backend {number}", flush=True)
    backend.copy_to(folder / "copy")
    backend.replace_with(folder / "copy")
    print("backend 5", flush=True)
    backend.close()


def main() -> None:
    """Both."""
    folder = Path(sys.argv[1])
    failpoints.configure(os.environ[failpoints.VARIABLE])
    write_log(folder)
    write_backend(folder)


if __name__ == "__main__":
    main()
