"""The image half of the process runtime: a content store, a folder that is loaded from by itself, and the machine's
own files.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from node_agent.runtime.errors import ImageInUse, ImageNotFound, PullFailed
from node_agent.runtime.image_names import HOST, is_host
from node_agent.runtime.image_store.config import ImageConfig
from node_agent.runtime.image_store.store import StoredImage, disk_usage
from node_agent.runtime.process.node import ProcessNode
from node_agent.runtime.types import Credentials, FsUsage, Image

_USAGE_SECONDS = 30.0
_HOST_CONFIG = ImageConfig(command=("/bin/sh",), host="/")


class ImageCalls(ProcessNode):
    """See interface.Images."""

    _usage_of_images: tuple[float, int, int] = (float("-inf"), 0, 0)

    async def pull_image(self, name: str, credentials: Credentials | None = None) -> str:
        return (await self.with_images(self.stored, name)).id

    async def load_image(self, archive: Path) -> tuple[str, ...]:
        return await self.with_images(self.images.load, archive)

    async def list_images(self) -> list[Image]:
        return await self.with_images(lambda: [_host_image(HOST), *map(_shown, self.images.all())])

    async def image_status(self, name: str) -> Image | None:
        def look() -> Image | None:
            if is_host(name):
                return _host_image(name) if _host_root(name).is_dir() else None
            self.images.load_incoming(name)
            found = self.images.find(name)
            return _shown(found) if found else None

        return await self.with_images(look)

    async def remove_image(self, name: str) -> None:
        if is_host(name):
            raise ImageInUse("the machine's own files are no image that could be removed")
        used = {record.image_id for record in self.containers.values()}
        await self.with_images(self.images.remove, name, used.__contains__)

    async def image_fs(self) -> FsUsage:
        return await self.with_images(self._image_fs)

    def _image_fs(self) -> FsUsage:
        try:
            disk = os.statvfs(self.root)
        except OSError as problem:
            raise PullFailed(f"{self.root}: {problem.strerror}") from problem
        at, used, inodes = self._usage_of_images
        if time.monotonic() - at > _USAGE_SECONDS:
            used, inodes = disk_usage(self.images.root / "trees")
            self._usage_of_images = (time.monotonic(), used, inodes)
        return FsUsage(
            mountpoint=str(self.root),
            used=used,
            inodes_used=inodes,
            capacity=disk.f_blocks * disk.f_frsize,
            available=disk.f_bavail * disk.f_frsize,
            inodes=disk.f_files,
            inodes_free=disk.f_favail,
        )

    def stored(self, name: str) -> StoredImage:
        """What to make a container from. Blocking. Raises ImageNotFound, InvalidImageName."""
        if is_host(name):
            return _host_stored(name)
        found = self.images.find(name)
        if found is None:
            self.images.load_incoming(name)
            found = self.images.find(name)
        if found is None:
            refused = "".join(f"; refused: {problem}" for problem in self.images.refused())
            raise ImageNotFound(
                f'image "{name}" not found: this node loads images with `fluyt image load` '
                f"or from {self.images.incoming}{refused}"
            )
        return found


def _host_root(name: str) -> Path:
    return Path(name.partition(":")[2] or "/")


def _host_image(name: str) -> Image:
    return Image(id=name, tags=(name,), pinned=True)


def _host_stored(name: str) -> StoredImage:
    """`host:/some/root` is a folder that is used as an image is: never written to where overlays are allowed."""
    root = _host_root(name)
    if not root.is_dir():
        raise ImageNotFound(f'image "{name}" not found: {root} is no folder on this node')
    config = _HOST_CONFIG if str(root) == "/" else ImageConfig(command=("/bin/sh",))
    return StoredImage(id=name, names=(name,), chains=(), size=0, loaded_at=0.0, config=config, tree=root.resolve())


def _shown(image: StoredImage) -> Image:
    digests = tuple(f"{name.rpartition(':')[0]}@{image.id}" for name in image.names)
    return Image(id=image.id, tags=image.names, digests=digests, size=image.size, user=image.config.user)
