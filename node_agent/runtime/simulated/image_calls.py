"""The image half of a simulated node."""

from __future__ import annotations

from pathlib import Path

from node_agent.runtime.simulated.node import SimulatedNode
from node_agent.runtime.types import Credentials, FsUsage, Image


class ImageCalls(SimulatedNode):
    """See interface.Images."""

    async def pull_image(self, name: str, credentials: Credentials | None = None) -> str:
        self.allow("pull_image")
        return self.state.images.pull(name).id

    async def load_image(self, archive: Path) -> tuple[str, ...]:
        self.allow("load_image")
        return self.state.images.load(archive)

    async def list_images(self) -> list[Image]:
        self.allow("list_images")
        return self.state.images.all()

    async def image_status(self, name: str) -> Image | None:
        self.allow("image_status")
        return self.state.images.find(name)

    async def remove_image(self, name: str) -> None:
        self.allow("remove_image")
        self.state.images.remove(name, {each.image_id for each in self.state.containers.values()})

    async def image_fs(self) -> FsUsage:
        self.allow("image_fs")
        return self.state.images.fs()
