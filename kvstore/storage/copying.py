"""Backend files outside their place: snapshots that are made, sent, received and looked into."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb

from kvstore.storage.durable import rename
from kvstore.storage.environment import MAX_TABLES, readable
from kvstore.storage.errors import BackendDamaged, NoSpace, StorageFailed, from_os
from kvstore.storage.table import ReadView

# LMDB takes the size of the map that the file's writer has, which it finds in the file: the file may grow in the moment
# before the transaction begins.
AS_ITS_WRITER = 0
# LMDB makes the map no smaller than the file, which nobody writes.
ONLY_THE_FILE = 1 << 20


def copy_environment(env: Any, path: Path) -> int:
    """Copy an open environment to a new file without its free pages; its size. NoSpace, StorageFailed."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            env.copyfd(fd, compact=True)
            os.fsync(fd)
            size = os.fstat(fd).st_size
        finally:
            os.close(fd)
        rename(temporary, path)
    except lmdb.Error as error:
        temporary.unlink(missing_ok=True)
        full = "No space left" in str(error) or "File too large" in str(error)
        raise (NoSpace if full else StorageFailed)(
            f"backend: can't copy to {path}: {error}; free space there"
        ) from error
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise from_os(error, f"backend: can't copy to {path}") from error
    return size


@contextmanager
def open_view(path: str | os.PathLike[str], *, beside_its_writer: bool = False) -> Iterator[ReadView]:
    """The tables in a file that copy_to made, without changing it.

    beside_its_writer: the file is a backend that another process has open; what is seen is its last commit.

    BackendDamaged if it is no such file; also out of the block, for pages that LMDB can't read.
    """
    try:
        env = lmdb.open(
            str(path),
            subdir=False,
            readonly=True,
            lock=beside_its_writer,
            map_size=AS_ITS_WRITER if beside_its_writer else ONLY_THE_FILE,
            readahead=False,
            max_dbs=MAX_TABLES,
            create=False,
        )
    except lmdb.Error as error:
        raise BackendDamaged(f"{path}: not a backend file ({error}); fetch the snapshot again") from error
    try:
        with readable(path), env.begin() as transaction:
            yield ReadView(transaction, _handles(env, transaction))
    finally:
        env.close()


def _handles(env: Any, transaction: Any) -> dict[str, Any]:
    with transaction.cursor() as cursor:
        names = list(cursor.iternext(True, False))
    return {name.decode(): env.open_db(name, txn=transaction, create=False) for name in names}
