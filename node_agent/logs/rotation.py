"""Rotating container logs: the file is renamed, the runtime opens a new one, older ones are compressed, the oldest go.

    0.log                          being written
    0.log.20260102-030405          the last one, as readers may still have it open
    0.log.20260101-030405.gz       older ones

Faults assumed: the agent dies between rename and reopen (the runtime goes on writing into the renamed file; the next
round finds no 0.log, and has it opened), the disk is full (tried again next round), the container is gone.
Source: "Logging Architecture" in the Kubernetes documentation (containerLogMaxSize, containerLogMaxFiles).
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

from node_agent.runtime.errors import RuntimeFault
from node_agent.runtime.interface import Runtime
from node_agent.runtime.types import ContainerState

log = logging.getLogger(__name__)


class LogRotation:
    """max_size: bytes of one file; max_files: files of one run of a container, >= 2."""

    def __init__(self, runtime: Runtime, mine: str, max_size: int, max_files: int) -> None:
        """mine: a folder; logs elsewhere are not touched."""
        self._runtime, self._mine = runtime, mine
        self._max_size, self._max_files = max_size, max(max_files, 2)

    async def round(self) -> None:
        """Look at every running container once. Raises RuntimeFault when the runtime is away."""
        for status in await self._runtime.container_statuses():
            running = status.state is ContainerState.RUNNING
            if running and status.log_path.startswith(self._mine):
                await self._container(status.id, Path(status.log_path))

    async def _container(self, container_id: str, path: Path) -> None:
        try:
            size = await asyncio.to_thread(_size, path)
            if 0 <= size < self._max_size:
                return
            if size >= 0:
                await asyncio.to_thread(self._set_aside, path)
            await self._runtime.reopen_log(container_id)
        except (RuntimeFault, OSError) as problem:
            log.warning("the log %s cannot be rotated now: %s", path, problem)

    def _set_aside(self, path: Path) -> None:
        """Compress what was set aside before, drop the oldest, rename the present one."""
        for old in rotated(path):
            if not old.name.endswith(".gz"):
                _compress(old)
        for oldest in rotated(path)[: -(self._max_files - 2) or None]:
            oldest.unlink(missing_ok=True)
        os.rename(path, f"{path}.{datetime.now(UTC).strftime('%Y%m%d-%H%M%S')}")


def rotated(path: Path) -> list[Path]:
    """The files that were set aside of this log, oldest first."""
    return sorted(p for p in path.parent.glob(f"{path.name}.*") if not p.name.endswith(".tmp"))


def _size(path: Path) -> int:
    """-1: there is no such file."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _compress(path: Path) -> None:
    packed = Path(f"{path}.gz")
    unfinished = Path(f"{packed}.tmp")
    try:
        with path.open("rb") as plain, gzip.open(unfinished, "wb") as out:
            shutil.copyfileobj(plain, out)
        os.replace(unfinished, packed)
        path.unlink()
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
