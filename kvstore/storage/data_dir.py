"""The folder of one member: who it belongs to, its lock, and the checks before anything in it is touched.

    identity.json   format version, cluster id, member id, name; written last at the first start, never changed
    lock            held by the process that uses the folder
    log/ backend/ snapshots/

Invariant: a folder that is not ours, not whole or in use is refused and left as it is; nothing is ever overwritten.
Faults assumed: a crash at any point of the first start; two processes at once; a person who gives the wrong path.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from kvstore.storage.durable import sync_directory, write_at, write_file
from kvstore.storage.errors import DataDirError, is_full

FORMAT = 1
_SUBFOLDERS = ("log", "backend", "snapshots")
_OURS = frozenset({*_SUBFOLDERS, "identity.json", "identity.json.tmp", "life", "life.tmp", "lock", "lost+found"})


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose folder this is. Ids are 64-bit, not 0."""

    cluster_id: int
    member_id: int
    name: str


class DataDir:
    """A locked data directory; `log`, `backend` and `snapshots` are the paths of its parts."""

    def __init__(self, path: Path, lock: int, identity: Identity | None) -> None:
        """Use open()."""
        self.path = path
        self.log = path / "log"
        self.backend = path / "backend"
        self.snapshots = path / "snapshots"
        self._lock = lock
        self._identity = identity

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> DataDir:
        """Make the folder if need be, check it and lock it. DataDirError: one line with the cause and the cure."""
        folder = Path(path)
        try:
            _make(folder)
            _refuse_strangers(folder)
            lock = _lock(folder)
        except OSError as error:
            raise _unusable(folder, error) from error
        try:
            identity = _read_identity(folder)
            _refuse_half_made(folder, identity)
            _prepare(folder)
        except OSError as error:
            os.close(lock)
            raise _unusable(folder, error) from error
        except DataDirError:
            os.close(lock)
            raise
        return cls(folder, lock, identity)

    def identity(self) -> Identity | None:
        """Whose folder it is; None before the first start was finished."""
        return self._identity

    def write_identity(self, identity: Identity) -> None:
        """Finish the first start, durably: from now on log and backend count. DataDirError if it has another one."""
        if self._identity == identity:
            return
        if self._identity is not None:
            raise DataDirError(
                f"{self.path}: belongs to {_describe(self._identity)}, not to {_describe(identity)}; "
                "check --initial-cluster and --initial-cluster-token, or choose another --data-dir"
            )
        text = json.dumps({"format": FORMAT, **asdict(identity)}, indent=2) + "\n"
        try:
            write_file(self.path / "identity.json", text.encode())
        except OSError as error:
            raise _unusable(self.path, error) from error
        self._identity = identity

    def begin_life(self) -> int:
        """The number of this start, from 1: durable, and higher than that of any start before. DataDirError."""
        path = self.path / "life"
        try:
            number = _read_life(path) + 1
            _write_life(path, b"%020d\n" % number)
        except OSError as error:
            raise _unusable(self.path, error) from error
        return number

    def close(self) -> None:
        """Release the lock."""
        os.close(self._lock)


def _make(folder: Path) -> None:
    if folder.exists():
        if not folder.is_dir():
            raise DataDirError(f"{folder}: is not a directory; choose another --data-dir")
        return
    _make(folder.parent)
    folder.mkdir(mode=0o700)
    sync_directory(folder.parent)


def _refuse_strangers(folder: Path) -> None:
    """Before the lock file is made: a folder of something else is not even locked."""
    names = {entry.name for entry in folder.iterdir()}
    if "member" in names and any((folder / "member" / part).exists() for part in ("wal", "snap")):
        raise DataDirError(
            f"{folder}: is etcd's data directory, whose format is another one; choose an empty --data-dir, "
            "or make one of a snapshot: `etcdctl snapshot save`, then `fluyt snapshot restore`"
        )
    strange = sorted(names - _OURS)
    if strange and not names & {"identity.json", "lock"}:
        raise DataDirError(f"{folder}: holds other files ({strange[0]}); choose an empty or new --data-dir")


def _lock(folder: Path) -> int:
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise DataDirError(
            f"{folder}: is in use by another process; stop that one, or choose another --data-dir"
        ) from None
    return fd


def _read_identity(folder: Path) -> Identity | None:
    path = folder / "identity.json"
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        found = json.loads(text)
        version = found["format"]
        if version > FORMAT:
            raise DataDirError(
                f"{folder}: written by a newer release (format {version}, this one knows {FORMAT}); "
                "start that release, or choose another --data-dir"
            )
        return Identity(int(found["cluster_id"]), int(found["member_id"]), str(found["name"]))
    except (ValueError, KeyError, TypeError) as error:
        raise DataDirError(
            f"{path}: is damaged ({error}); restore it from a copy, or choose another --data-dir"
        ) from error


def _read_life(path: Path) -> int:
    try:
        return int(path.read_bytes())
    except FileNotFoundError:
        return 0
    except ValueError as error:
        raise DataDirError(f"{path}: is damaged ({error}); write the number 1000000 into it") from error


def _write_life(path: Path, data: bytes) -> None:
    try:
        write_file(path, data)
    except OSError as error:
        if not is_full(error) or not path.exists():
            raise
        # A member must start on a full disk, too; the file has its block already, and is always as long.
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            write_at(fd, [data], 0)
            os.fsync(fd)
        finally:
            os.close(fd)


def _refuse_half_made(folder: Path, identity: Identity | None) -> None:
    if identity is None and any((folder / part).is_dir() and any((folder / part).iterdir()) for part in _SUBFOLDERS):
        raise DataDirError(
            f"{folder}: a first start was interrupted, or identity.json was removed; if this member never served, "
            "remove the directory and start again, else restore identity.json"
        )
    if identity is not None and not (folder / "log").is_dir():
        raise DataDirError(
            f"{folder}: has an identity but no log; restore log/ from a copy, or remove this member from the cluster "
            "and add it again with an empty data directory"
        )


def _prepare(folder: Path) -> None:
    """What a crash left half-written goes; the places for snapshots are made. log/ and backend/ make themselves."""
    snapshots = folder / "snapshots"
    snapshots.mkdir(mode=0o700, exist_ok=True)
    for leftover in snapshots.glob("*.tmp"):
        leftover.unlink()
    sync_directory(folder)


def _describe(identity: Identity) -> str:
    return f"member {identity.member_id:x} ({identity.name}) of cluster {identity.cluster_id:x}"


def _unusable(folder: Path, error: OSError) -> DataDirError:
    where = error.filename or folder
    return DataDirError(f"{folder}: can't be used: {error.strerror or error} ({where}); check its owner, mode and disk")
