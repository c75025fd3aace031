"""What a simulated node has instead of disks and sources: nothing is fetched, nothing is written."""

from __future__ import annotations

from node_agent.pod.needs import Sources
from node_agent.pod.spec import Object
from node_agent.runtime.types import Mount


class NoSources:
    """Config maps, secrets and services are not looked up, and references to them passed over."""

    async def sources(self, pod: Object) -> Sources:
        return Sources(lenient=True)

    def release(self, pod: Object) -> None:
        return


class NoVolumes:
    """Volumes are always ready, and empty."""

    async def set_up(self, pod: Object) -> None:
        return

    async def mounts(self, pod: Object, container: Object, env: dict[str, str], attempt: int) -> tuple[Mount, ...]:
        return ()

    async def tear_down(self, pod: Object) -> None:
        return

    async def forget(self, uid: str) -> None:
        return
