"""A set of files that a container sees change all at once.

    <volume>/..2026_01_02_03_04_05.123/app.conf     the files as they are
    <volume>/..data -> ..2026_01_02_03_04_05.123    renamed into place: the moment of the change
    <volume>/app.conf -> ..data/app.conf            what containers open

Invariants: at any moment ..data leads to one complete version; a reader that keeps ..data's target open keeps its
version. Faults assumed: the agent dies in between (the next write removes what was left), the disk is full (the old
version stays). Source: the layout that Kubernetes documents for config map volumes and that programs watch.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from node_agent.volumes.files import File

_DATA, _NEXT = "..data", "..data_tmp"


def write_files(folder: Path, files: Mapping[str, File], group: int | None = None, owner: int | None = None) -> bool:
    """Make the folder show exactly these files; whether anything changed. Blocks; raises OSError.

    group: they belong to this group, which may read them; owner: to this user.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if _same(folder, files, group):
        return False
    version = Path(tempfile.mkdtemp(prefix=datetime.now(UTC).strftime("..%Y_%m_%d_%H_%M_%S."), dir=folder))
    try:
        version.chmod(0o755)
        for path, file in files.items():
            _write(version, path, file, group, owner)
        _own(version, group)
        _switch(folder, version)
    except BaseException:
        shutil.rmtree(version, ignore_errors=True)
        raise
    _link(folder, files)
    _clean(folder, version.name, files)
    return True


def _same(folder: Path, files: Mapping[str, File], group: int | None) -> bool:
    """Whether the present version has these very files."""
    present = folder / _DATA
    if not present.is_dir():
        return False
    found = {str(path.relative_to(present)) for path in present.rglob("*") if path.is_file()}
    if found != set(files) or any(not os.path.lexists(folder / _top(path)) for path in files):
        return False
    for path, file in files.items():
        at = present / path
        if at.stat().st_size != len(file.data) or at.read_bytes() != file.data:
            return False
        if at.stat().st_mode & 0o777 != _mode(file, group):
            return False
    return True


def _mode(file: File, group: int | None) -> int:
    return (file.mode | 0o440 if group is not None else file.mode) & 0o777


def _write(version: Path, path: str, file: File, group: int | None, owner: int | None) -> None:
    target = version / path
    target.parent.mkdir(parents=True, exist_ok=True)
    number = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(number, "wb") as out:
        out.write(file.data)
        if os.geteuid() == 0 and (group is not None or owner is not None):
            os.fchown(number, -1 if owner is None else owner, -1 if group is None else group)
        os.fchmod(number, _mode(file, group))


def _own(version: Path, group: int | None) -> None:
    if group is None or os.geteuid() != 0:
        return
    for folder in [version, *(path for path in version.rglob("*") if path.is_dir())]:
        os.chown(folder, -1, group)
        folder.chmod(0o2755)


def _switch(folder: Path, version: Path) -> None:
    following = folder / _NEXT
    following.unlink(missing_ok=True)
    following.symlink_to(version.name)
    following.rename(folder / _DATA)


def _top(path: str) -> str:
    return path.split("/", 1)[0]


def _link(folder: Path, files: Mapping[str, File]) -> None:
    """What containers open: the first component of every path leads through ..data."""
    for name in {_top(path) for path in files}:
        link = folder / name
        if link.is_symlink() and os.readlink(link) == f"{_DATA}/{name}":
            continue
        if link.is_dir() and not link.is_symlink():
            shutil.rmtree(link)
        else:
            link.unlink(missing_ok=True)
        link.symlink_to(f"{_DATA}/{name}")


def _clean(folder: Path, version: str, files: Mapping[str, File]) -> None:
    """Remove older versions, and links to files that there are no more."""
    wanted = {_top(path) for path in files} | {_DATA, version}
    for entry in folder.iterdir():
        if entry.name in wanted:
            continue
        if entry.is_symlink():
            entry.unlink(missing_ok=True)
        elif entry.name.startswith(".."):
            with contextlib.suppress(OSError):
                shutil.rmtree(entry)
