"""One member's disk: what a crash leaves of it, and what it refuses.

Files are bytes plus the list of writes that no fsync has covered; names are those present and those an fsync of their
directory has covered. `kill` (the process ends) keeps what was written; `power_loss` keeps of each unsynced write
nothing, all, a head or any of its sectors, and each unsynced change of a name or not.

A failed fsync is the kernel's at its worst (ATC '20): the pages count as clean, no later fsync writes them, and a power
loss takes them, unless they are written again. Any call may be the one during which the machine ends (`cut_after`).
"""

from __future__ import annotations

import errno
import os
import random
import stat
from collections.abc import Sequence

from sim_world import PowerCut, World

from kvstore.storage.log.format import CLOSED, BadHeader, decode_header, decode_record

SECTOR = 512


class Inode:
    """A file or a directory."""

    __slots__ = ("data", "directory", "limbo", "number", "unsynced")

    def __init__(self, number: int, directory: bool) -> None:
        self.number = number
        self.directory = directory
        self.data = bytearray()
        # (offset, what was there before, length) of the writes that no fsync has covered, oldest first; in limbo, of
        # those whose fsync failed.
        self.unsynced: list[tuple[int, bytes, int]] = []
        self.limbo: list[tuple[int, bytes, int]] = []

    def write(self, offset: int, data: bytes) -> None:
        """Write; it is in the page cache only."""
        end = offset + len(data)
        content = self.data
        self.unsynced.append((offset, bytes(content[offset:end]), len(data)))
        if len(content) < offset:
            content.extend(bytes(offset - len(content)))
        content[offset:end] = data
        if self.limbo:
            self.limbo = [part for write in self.limbo for part in _outside(write, offset, end)]

    def lose(self, chance: random.Random) -> None:
        """The power is gone: of the unsynced writes only some are left."""
        how = chance.choice(("none", "all", "head", "sectors"))
        writes = self.limbo + self.unsynced
        self.limbo, self.unsynced = [], []
        if how == "all":
            return
        kept = chance.randint(0, len(writes)) if how == "head" else 0
        for number in range(len(writes) - 1, kept - 1, -1):
            offset, old, length = writes[number]
            before = old.ljust(length, b"\0")
            if how == "head" and number == kept:
                torn = chance.randint(0, length)
                self.data[offset + torn : offset + length] = before[torn:]
            elif how == "sectors":
                self._lose_sectors(chance, offset, before)
            else:
                self.data[offset : offset + length] = before

    def _lose_sectors(self, chance: random.Random, offset: int, before: bytes) -> None:
        at, end = offset, offset + len(before)
        while at < end:
            stop = min(end, (at // SECTOR + 1) * SECTOR)
            if chance.random() < 0.5:
                self.data[at:stop] = before[at - offset : stop - offset]
            at = stop


def _outside(write: tuple[int, bytes, int], start: int, end: int) -> list[tuple[int, bytes, int]]:
    """What of a write lies outside start … end."""
    offset, old, length = write
    before = old.ljust(length, b"\0")
    parts = []
    if offset < start:
        left = min(length, start - offset)
        parts.append((offset, before[:left], left))
    if offset + length > end:
        right = min(length, offset + length - end)
        parts.append((offset + length - right, before[length - right :], right))
    return parts


class Disk:
    """The files of one member, by full path."""

    def __init__(self, world: World, member: int) -> None:
        self.world = world
        self.member = member
        self.dead = False  # the machine is off: every call ends in PowerCut
        self.full = False
        self.fail_sync = False
        self.cut_after = -1  # calls until the machine ends; -1: it does not
        self.sync_seconds = 0.0002
        self.present: dict[str, Inode] = {}
        self.durable: dict[str, Inode] = {}
        self._numbers = 0

    # ---- the machine

    def _step(self) -> None:
        """A call that changes something, or waits for the disk."""
        if self.dead:
            raise PowerCut
        if self.cut_after >= 0:
            self.cut_after -= 1
            if self.cut_after < 0:
                self.dead = True
                if self.world.life is not None:
                    self.world.life.cut = True
                raise PowerCut

    step = _step

    def restart(self, power_loss: bool) -> None:
        """The machine, or only the process, is about to start again."""
        self.dead = False
        self.cut_after = -1
        self.fail_sync = False
        if not power_loss:
            return
        chance = self.world.random
        for path in sorted(self.present.keys() | self.durable.keys()):
            if self.present.get(path) is not self.durable.get(path):
                left = (self.present if chance.random() < 0.5 else self.durable).get(path)
                self.present.pop(path, None)
                if left is not None:
                    self.present[path] = left
        self.durable = dict(self.present)
        for path in sorted(self.present):
            inode = self.present[path]
            if inode.unsynced or inode.limbo:
                inode.lose(chance)

    # ---- system calls

    def inode(self, path: str) -> Inode:
        """The inode of a path. FileNotFoundError."""
        if self.dead:
            raise PowerCut
        found = self.present.get(path)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return found

    def open(self, path: str, flags: int) -> Inode:
        """As open(2)."""
        if flags & os.O_CREAT:
            self._step()
            if path not in self.present:
                self._need_space(path)
                self.present[path] = self._new(directory=False)
        found = self.inode(path)
        if flags & os.O_TRUNC and found.data:
            found.data = bytearray()
            found.unsynced, found.limbo = [], []
        return found

    def _new(self, directory: bool) -> Inode:
        self._numbers += 1
        return Inode(self._numbers, directory)

    def _need_space(self, path: str) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    def mkdir(self, path: str) -> None:
        """As mkdir(2)."""
        self._step()
        if path in self.present:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        self.present[path] = self._new(directory=True)

    def allocate(self, inode: Inode, size: int) -> None:
        """As posix_fallocate(3)."""
        self._step()
        if size > len(inode.data):
            self._need_space("")
            inode.data.extend(bytes(size - len(inode.data)))

    def write(self, inode: Inode, parts: Sequence[bytes], offset: int) -> int:
        """As pwritev(2)."""
        data = b"".join(parts)
        if self.dead:
            raise PowerCut
        if offset + len(data) > len(inode.data):
            self._need_space("")
        inode.write(offset, data)
        self._step()
        return len(data)

    def sync(self, inode: Inode) -> None:
        """As fdatasync(2), or fsync(2) of a directory."""
        self._step()
        life = self.world.life
        if life is not None:
            life.spent += self.sync_seconds
        if self.fail_sync:
            self.fail_sync = False
            inode.limbo += inode.unsynced
            inode.unsynced = []
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if inode.directory:
            self._sync_names(next(path for path, one in self.present.items() if one is inode))
        elif inode.unsynced:
            inode.unsynced = []

    def _sync_names(self, directory: str) -> None:
        start = directory + "/"
        for path in [p for p in self.durable if p.startswith(start) and "/" not in p[len(start) :]]:
            if path not in self.present:
                del self.durable[path]
        for path, inode in self.present.items():
            if path.startswith(start) and "/" not in path[len(start) :]:
                self.durable[path] = inode

    def rename(self, source: str, target: str) -> None:
        """As rename(2)."""
        self._step()
        inode = self.inode(source)
        del self.present[source]
        self.present[target] = inode

    def unlink(self, path: str) -> None:
        """As unlink(2)."""
        self._step()
        self.inode(path)
        del self.present[path]

    def listdir(self, directory: str) -> list[str]:
        """Names in a directory."""
        self.inode(directory)
        start = directory.rstrip("/") + "/"
        return sorted(p[len(start) :] for p in self.present if p.startswith(start) and "/" not in p[len(start) :])

    def stat(self, inode: Inode) -> os.stat_result:
        """As stat(2): the kind, the number and the size."""
        mode = stat.S_IFDIR | 0o700 if inode.directory else stat.S_IFREG | 0o600
        return os.stat_result((mode, inode.number, 0, 1, 0, 0, len(inode.data), 0, 0, 0))

    # ---- rot

    def rot(self, chance: random.Random) -> tuple[str, int, int, int] | None:
        """Flip a bit of a log segment at rest; where, and the byte before and after. None if there is nothing.

        Not of what was synced last in a log that was not closed: nothing tells that from a torn write (log/replay.py),
        and a member that lost what it had promised stops when it hears of it, or helps to lose it.
        """
        segments = [p for p in sorted(self.present) if p.endswith(".wal")]
        if not segments:
            return None
        path = chance.choice(segments)
        data = self.present[path].data
        written = len(data.rstrip(b"\0"))
        if path == segments[-1]:
            written = _proven(bytes(data), written)
        if not written:
            return None
        at = chance.randrange(written)
        was = data[at]
        data[at] ^= 1 << chance.randrange(8)
        return path, at, was, data[at]

    def repair(self, path: str, at: int, was: int, rotten: int) -> None:
        """The operator puts the byte back, from a copy; not over what a member has written there since.

        It does so where the byte was in the torn end of a log.
        """
        if path in self.present and self.present[path].data[at] == rotten:
            self.present[path].data[at] = was


def _proven(data: bytes, written: int) -> int:
    """So much of the last segment its last record proves to be durable: all of it, if that says it was closed."""
    try:
        header, at, seed = decode_header(data)
    except BadHeader:
        return written
    last = None
    while (record := decode_record(data, at, at, header.salt, seed)) is not None:
        last, at = record, record.end
    if last is None:
        return at
    return written if last.kind == CLOSED else last.synced
