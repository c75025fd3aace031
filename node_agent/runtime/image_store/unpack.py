"""One layer onto a tree of files: whiteouts, opaque folders, hard links, owners, modes, times, capabilities of files.

Invariants: nothing outside the tree is read or written, whatever names and links a layer holds; a file that is there
is never written into but replaced, because it may be a hard link into another image's tree; what a layer adds is not
taken away by its own whiteouts. Assumes that nobody else writes into the tree meanwhile. Device nodes are left out:
containers get theirs in /dev, and their root is mounted `nodev`. Source: the OCI image specification, layer.md.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import posixpath
import shutil
import stat
import tarfile
from pathlib import Path
from typing import IO, cast

from node_agent.runtime.errors import BadArchive
from node_agent.runtime.image_store.bounds import Bounds

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_XATTR = "SCHILY.xattr."
_KEPT_XATTRS = ("security.capability", "user.")
_CHUNK = 1 << 20
_MAX_LINKS = 40
_TRIES = 10


class _Hashing:
    """A reader that knows the digest of all that went through it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._hash.update(data)
        return data

    def digest(self) -> str:
        while self.read(_CHUNK):
            pass
        return "sha256:" + self._hash.hexdigest()


class Unpacker:
    """Onto `root`, layer after layer. `size` is the number of bytes of files that were written."""

    def __init__(self, root: Path, bounds: Bounds) -> None:
        self._root = str(root)
        self._bounds = bounds
        self._own = os.geteuid() == 0
        self.size = 0
        self._entries = 0
        self._parents: dict[str, str] = {}
        self._added: set[str] = set()
        self._folders: dict[str, tarfile.TarInfo] = {}

    def apply(self, layer: IO[bytes], diff_id: str) -> None:
        """Raises BadArchive (damaged, hostile, too large) and OSError (disk)."""
        self._added.clear()
        self._parents.clear()
        reader = _Hashing(layer)
        try:
            with tarfile.open(fileobj=cast("IO[bytes]", reader), mode="r|") as tar:
                for member in tar:
                    self._member(tar, member)
            digest = reader.digest()
        except (tarfile.TarError, EOFError, ValueError, OverflowError) as problem:
            raise BadArchive(f"layer {diff_id[:19]} is damaged: {problem}") from problem
        if digest != diff_id:
            raise BadArchive(f"layer {diff_id[:19]} is damaged: its digest is {digest[:19]}")

    def finish(self) -> None:
        """Modes and times of folders, which what came into them has changed."""
        top = os.path.realpath(self._root)
        for path, member in sorted(self._folders.items(), reverse=True):
            full = posixpath.join(top, path).rstrip("/")
            # A link that came later on the way to a folder leads to one that is not meant, maybe the machine's.
            if os.path.isdir(full) and os.path.realpath(full) == full:
                self._attributes(full, member)
        self._folders.clear()

    def _member(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        self._entries += 1
        if self._entries > self._bounds.entries:
            raise BadArchive(f"more than {self._bounds.entries} files")
        path = self._clean(member.name)
        folder, name = posixpath.split(path)
        if not name:
            if member.isdir():
                self._folders[""] = member
            return
        parent = self._parent(folder)
        if name.startswith(_WHITEOUT):
            self._whiteout(parent, name)
            return
        where = posixpath.join(parent, name)
        self._write(tar, member, where)

    def _clean(self, name: str) -> str:
        if len(name) > self._bounds.path or "\0" in name:
            raise BadArchive("a path is too long, or holds a zero byte")
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise BadArchive(f"the path {name[:200]!r} leads out of the image")
        return "/".join(parts)

    # where things go

    def _parent(self, folder: str) -> str:
        """`folder` with links followed inside the tree, and made where it is missing."""
        known = self._parents.get(folder)
        if known is None:
            known = self._parents[folder] = self._resolve(folder)
        return known

    def _resolve(self, folder: str) -> str:
        left = folder.split("/")[::-1] if folder else []
        resolved, links = "", 0
        while left:
            part = left.pop()
            if part in ("", "."):
                continue
            if part == "..":
                resolved = posixpath.dirname(resolved)
                continue
            step = posixpath.join(resolved, part)
            full = f"{self._root}/{step}"
            if os.path.islink(full):
                links += 1
                if links > _MAX_LINKS:
                    raise BadArchive(f"the path {folder[:200]!r} goes through too many links")
                target = os.readlink(full)
                resolved = "" if target.startswith("/") else resolved
                left.extend(target.split("/")[::-1])
                continue
            if not os.path.isdir(full):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(full)
                os.mkdir(full, 0o755)
            resolved = step
        return resolved

    # what goes there

    def _write(self, tar: tarfile.TarFile, member: tarfile.TarInfo, where: str) -> None:
        full = f"{self._root}/{where}"
        if member.isdir():
            self._folder(full, where, member)
        elif member.isfile():
            self._make_way(full)
            self._file(tar, full, member)
        elif member.issym():
            self._make_way(full)
            os.symlink(member.linkname, full)
            self._owner(full, member)
        elif member.islnk():
            self._hard_link(full, member)
        elif member.isfifo():
            self._make_way(full)
            os.mkfifo(full, member.mode & 0o7777)
            self._attributes(full, member)
        else:
            return
        self._added.add(where)

    def _folder(self, full: str, where: str, member: tarfile.TarInfo) -> None:
        if os.path.islink(full) or not os.path.isdir(full):
            self._make_way(full)
            os.mkdir(full, 0o700)
        self._folders[where] = member

    def _make_way(self, full: str) -> None:
        """Remove what is there; links and folders that go may have led other paths."""
        try:
            mode = os.lstat(full).st_mode
        except FileNotFoundError:
            return
        if stat.S_ISDIR(mode):
            self._forget_folders(full)
            remove_tree(full)
        else:
            os.unlink(full)
        if not stat.S_ISREG(mode):
            self._parents.clear()

    def _forget_folders(self, full: str) -> None:
        """What the folders at and below it were to be like: something else may come to lie at their paths."""
        for folder, _, _ in os.walk(full):
            self._folders.pop(folder.removeprefix(f"{self._root}/"), None)

    def _file(self, tar: tarfile.TarFile, full: str, member: tarfile.TarInfo) -> None:
        self.size += member.size
        if self.size > self._bounds.unpacked:
            raise BadArchive(f"its files are more than {self._bounds.unpacked} bytes")
        self._room(member.size)
        source = tar.extractfile(member)
        descriptor = os.open(full, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            if source is not None:
                shutil.copyfileobj(source, file, _CHUNK)
        self._attributes(full, member)

    def _room(self, size: int) -> None:
        if size < _CHUNK:
            return
        free = os.statvfs(self._root)
        if free.f_bavail * free.f_frsize < size + self._bounds.reserve:
            raise OSError(28, "no space left on device")

    def _hard_link(self, full: str, member: tarfile.TarInfo) -> None:
        folder, name = posixpath.split(self._clean(member.linkname))
        target = posixpath.join(self._root, self._parent(folder), name)
        if not name or not os.path.lexists(target) or stat.S_ISDIR(os.lstat(target).st_mode):
            raise BadArchive(
                f"hard link {member.name[:200]!r} leads to {member.linkname[:200]!r}, which is no file in it"
            )
        if target == full:
            return
        self._make_way(full)
        os.link(target, full, follow_symlinks=False)

    def _whiteout(self, parent: str, name: str) -> None:
        if name == _OPAQUE:
            for entry in os.listdir(f"{self._root}/{parent}"):
                self._hide(posixpath.join(parent, entry))
            return
        hidden = name.removeprefix(_WHITEOUT)
        if hidden in ("", ".", ".."):
            raise BadArchive(f"the whiteout {name!r} hides nothing")
        self._hide(posixpath.join(parent, hidden))

    def _hide(self, where: str) -> None:
        """Remove what lower layers have there; what this layer has brought stays."""
        full = f"{self._root}/{where}"
        if where in self._added:
            return
        if any(each.startswith(f"{where}/") for each in self._added):
            for entry in os.listdir(full):
                self._hide(f"{where}/{entry}")
            return
        self._make_way(full)

    # what they are like

    def _attributes(self, full: str, member: tarfile.TarInfo) -> None:
        self._owner(full, member)
        mode = member.mode & 0o7777
        os.chmod(full, mode if self._own else (mode & 0o777) | (0o700 if member.isdir() else 0o400))
        self._extended(full, member)
        with contextlib.suppress(OSError, OverflowError):
            os.utime(full, (member.mtime, member.mtime))

    def _owner(self, full: str, member: tarfile.TarInfo) -> None:
        if self._own:
            os.chown(full, member.uid, member.gid, follow_symlinks=False)

    def _extended(self, full: str, member: tarfile.TarInfo) -> None:
        for key, value in member.pax_headers.items():
            name = key.removeprefix(_XATTR)
            if key.startswith(_XATTR) and name.startswith(_KEPT_XATTRS):
                with contextlib.suppress(
                    OSError
                ):  # a file system without them, or no root: the file works less, not wrong
                    os.setxattr(full, name, value.encode("utf-8", "surrogateescape"), follow_symlinks=False)


def remove_tree(path: str) -> None:
    """Also folders that their owner may not write to. Missing is fine. Raises OSError."""
    if not os.path.isdir(path) or os.path.islink(path):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return
    if os.geteuid() != 0:
        os.chmod(path, 0o700)
        for folder, folders, _ in os.walk(path):  # overlayfs leaves folders of mode 0; open them before going in
            for name in folders:
                if not os.path.islink(os.path.join(folder, name)):
                    os.chmod(os.path.join(folder, name), 0o700)
    for _ in range(_TRIES):
        try:
            shutil.rmtree(path)
            return
        except FileNotFoundError:
            if not os.path.lexists(path):
                return
            # A shim that ends takes its socket away by itself; look again at what is left.


def clone_tree(source: Path, target: Path) -> None:
    """A tree whose files are hard links to the other's; folders and symbolic links are its own."""
    shutil.copytree(source, target, symlinks=True, copy_function=_link, dirs_exist_ok=True)
    if os.geteuid() == 0:
        _copy_owners(str(source), str(target))


def _link(source: str, target: str) -> None:
    os.link(source, target, follow_symlinks=False)


def _copy_owners(source: str, target: str) -> None:
    for folder, folders, files in os.walk(source):
        relative = os.path.relpath(folder, source)
        links = [name for name in (*folders, *files) if os.path.islink(os.path.join(folder, name))]
        for name in (".", *links):
            known = os.lstat(os.path.join(folder, name))
            os.chown(os.path.join(target, relative, name), known.st_uid, known.st_gid, follow_symlinks=False)
