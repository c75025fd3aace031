"""One runtime under test: the loop it lives in, an image, and short words for what every test does."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from node_agent.runtime.interface import Runtime
from node_agent.runtime.types import ContainerConfig, ContainerState, ContainerStatus, SandboxConfig

IMAGE = "fluyt.test/busybox:1"
SECONDS = 20.0
_T = TypeVar("_T")
_numbers = itertools.count()


@dataclass
class Bench:
    """`make()` gives another runtime object over the same state, as a restarted agent would have."""

    kind: str
    make: Callable[[], Runtime]
    folder: Path
    archive: Path
    runner: asyncio.Runner
    runtime: Runtime = field(init=False)
    sandboxes: list[str] = field(default_factory=list)
    common: str = ""

    @property
    def real(self) -> bool:
        return self.kind != "simulated"

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return self.runner.run(asyncio.wait_for(work, 60))

    async def start(self) -> None:
        self.runtime = self.make()
        await self.runtime.open()
        if self.real:
            await self.runtime.load_image(self.archive)
        else:
            await self.runtime.pull_image(IMAGE)

    async def reopen(self) -> None:
        """The agent restarts."""
        await self.runtime.close()
        self.runtime = self.make()
        await self.runtime.open()

    async def sandbox(self, **settings: Any) -> str:
        number = next(_numbers)
        directory = str(self.folder / "logs" / f"pod-{number}")
        config = SandboxConfig(
            **{
                "name": f"pod-{number}",
                "namespace": "default",
                "uid": f"uid-{number}",
                "log_directory": directory,
                "labels": {"number": str(number)},
                **settings,
            }
        )
        identity = await self.runtime.run_sandbox(config)
        self.sandboxes.append(identity)
        return identity

    async def container(self, sandbox: str, *command: str, start: bool = True, **settings: Any) -> str:
        config = ContainerConfig(
            **{"name": "main", "image": IMAGE, "command": command, "log_path": "main/0.log", **settings}
        )
        identity = await self.runtime.create_container(sandbox, config)
        if start:
            await self.runtime.start_container(identity)
        return identity

    async def ended(self, container: str) -> ContainerStatus:
        """Its status once it has exited."""

        async def look() -> ContainerStatus | None:
            status = await self.runtime.container_status(container)
            return status if status.state is ContainerState.EXITED else None

        return await until(look)

    async def says(self, *command: str, **settings: Any) -> tuple[int, str]:
        """Run a container to its end, in a sandbox that the tests share: exit code and the text of its log."""
        if not self.common:
            self.common = await self.sandbox(privileged=True)
            self.sandboxes.remove(self.common)
        name = f"run-{next(_numbers)}"
        settings = {"name": name, "log_path": f"{name}/0.log", **settings}
        container = await self.container(self.common, *command, **settings)
        status = await self.ended(container)
        return status.exit_code, await self.log_text(status.log_path)

    async def log_text(self, path: str) -> str:
        return "".join(f"{text}\n" for _, _, text in await self.log(path))

    async def log(self, path: str, lines: int = 0, last: str = "") -> list[tuple[str, str, str]]:
        """(stream, F or P, text) of each line; waits until there are so many, `last` is one, and the file stays so."""

        async def look() -> list[tuple[str, str, str]] | None:
            before = read_log(Path(path))
            await asyncio.sleep(0.05)
            after = read_log(Path(path))
            whole = len(after) >= lines and (not last or any(text == last for _, _, text in after))
            return after if whole and before == after else None

        return await until(look)

    async def clean(self) -> None:
        sandboxes, self.sandboxes = self.sandboxes, []
        await asyncio.gather(*(self.runtime.remove_sandbox(each) for each in sandboxes))
        left = await self.runtime.list_containers(self.common) if self.common else []
        await asyncio.gather(*(self.runtime.remove_container(each.id) for each in left))

    async def finish(self) -> None:
        await self.clean()
        if self.common:
            await self.runtime.remove_sandbox(self.common)
        await self.runtime.close()

    async def listed(self) -> list[str]:
        """The sandboxes that there are, but for the common one."""
        return [each.id for each in await self.runtime.list_sandboxes() if each.id != self.common]


def read_log(path: Path) -> list[tuple[str, str, str]]:
    if not path.exists():
        return []
    rows = [line.split(" ", 3) for line in path.read_text().splitlines()]
    assert all(len(row) == 4 and row[0].endswith("Z") and "." in row[0] for row in rows), rows
    return [(row[1], row[2], row[3]) for row in rows]


async def until(look: Callable[[], Awaitable[_T | None]]) -> _T:
    """The first answer that is not None."""
    async with asyncio.timeout(SECONDS):
        while (found := await look()) is None:
            await asyncio.sleep(0.02)
    return found
