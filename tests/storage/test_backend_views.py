"""A backend read by another process while its own writes it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

from kvstore.storage import Backend

# Opens the view in two steps: between LMDB's open and its transaction it waits for a line.
READER = dedent(
    """
    import sys, lmdb
    from kvstore.storage.copying import open_view

    def opened(*path, _open=lmdb.open, **options):
        env = _open(*path, **options)
        print("open", flush=True)
        sys.stdin.readline()
        return env

    lmdb.open = opened
    with open_view(sys.argv[1], beside_its_writer=True) as view:
        print(sum(1 for _ in view.table("rows").scan()))
    """
)


def test_a_commit_while_another_process_opens_the_file(tmp_path: Path) -> None:
    """The file has grown by the time of the reader's transaction: its map has to be as large as the writer's."""
    backend = Backend.open(tmp_path / "backend", headroom_bytes=1 << 20)
    table = backend.table("rows")
    for row in range(20_000):
        table.put(b"%05d" % row, bytes(1000))
    backend.commit()
    backend.sync()
    arguments = [sys.executable, "-c", READER, str(tmp_path / "backend" / "data.mdb")]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        assert reader.stdout.readline() == "open\n"
        for row in range(20_000, 22_000):
            table.put(b"%05d" % row, bytes(1000))
        backend.commit()
        backend.sync()
        reader.stdin.write("\n")
        reader.stdin.flush()
        assert reader.stdout.read() == "22000\n"
    backend.close()
