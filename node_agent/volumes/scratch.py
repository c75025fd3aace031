"""emptyDir volumes, and memory-backed folders. Mounts are made by util-linux's `mount`, called with its arguments."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from pathlib import Path

from control.api.quantity import Quantity
from node_agent.pod.spec import Object

log = logging.getLogger(__name__)

_TIMEOUT = 20.0


def is_mounted(folder: Path) -> bool:
    return os.path.ismount(folder)


async def mount_memory(folder: Path, size: int = 0, mode: int = 0o700) -> bool:
    """A tmpfs at that folder, if this process may mount; size: bytes, 0 for half of the memory. Whether it is one."""
    folder.mkdir(parents=True, exist_ok=True)
    if is_mounted(folder):
        return True
    if os.geteuid() != 0:
        return False
    options = f"mode={mode:o},nosuid,nodev" + (f",size={size}" if size else "")
    return await _run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder))


async def unmount(folder: Path) -> None:
    if is_mounted(folder):
        await _run("umount", str(folder)) or await _run("umount", "-l", str(folder))


async def _run(*command: str) -> bool:
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
    except OSError as problem:
        log.warning("%s cannot be run: %s", command[0], problem)
        return False
    try:
        async with asyncio.timeout(_TIMEOUT):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return False
    if process.returncode:
        log.warning("%s failed: %s", " ".join(command), output.decode(errors="replace").strip())
    return process.returncode == 0


async def empty_dir(folder: Path, source: Object, group: int | None) -> None:
    """Make the folder of an emptyDir volume; one that is there keeps what it holds. Raises OSError."""
    if folder.is_dir() and (source.get("medium") != "Memory" or is_mounted(folder)):
        return
    folder.mkdir(parents=True, exist_ok=True)
    if source.get("medium") == "Memory":
        limit = source.get("sizeLimit")
        size = Quantity.parse(limit).ceil() if limit else 0
        if not await mount_memory(folder, size, 0o777):
            log.warning("%s: memory cannot be mounted here; the volume is on the disk", folder)
    if group is not None and os.geteuid() == 0:
        os.chown(folder, -1, group)
    folder.chmod(0o2777 if group is not None else 0o777)


def usage(folder: Path) -> int:
    """Bytes below a folder, as far as they can be read. Blocks."""
    total = 0
    for path, _, names in os.walk(folder, followlinks=False):
        for name in names:
            try:
                total += os.lstat(os.path.join(path, name)).st_blocks * 512
            except OSError:
                continue
    return total


def remove_tree(folder: Path) -> None:
    """Blocks; raises OSError for what stays."""
    if folder.is_symlink() or not folder.is_dir():
        folder.unlink(missing_ok=True)
    else:
        shutil.rmtree(folder)
