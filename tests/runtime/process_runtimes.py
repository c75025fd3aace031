"""Process runtimes for tests, and files that they cannot read for a while."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from node_agent.runtime.process.runtime import ProcessRuntime


@asynccontextmanager
async def opened(folder: Path, **settings: Any) -> AsyncIterator[ProcessRuntime]:
    """A runtime whose pods are all gone afterwards."""
    runtime = ProcessRuntime(folder / "runtime", **settings)
    await runtime.open()
    try:
        yield runtime
    finally:
        for sandbox in await runtime.list_sandboxes():
            await runtime.remove_sandbox(sandbox.id)
        await runtime.close()


@contextmanager
def unreadable(name: str, problem: int, times: int = 1 << 30) -> Iterator[None]:
    """Files of that name cannot be read, so many times. problem: the errno."""
    real, left = Path.read_text, [times]

    def refused(path: Path, *args: Any, **settings: Any) -> str:
        if path.name == name and left[0]:
            left[0] -= 1
            raise OSError(problem, os.strerror(problem), str(path))
        return real(path, *args, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "read_text", refused)
        yield
