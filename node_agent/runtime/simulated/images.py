"""Images of a simulated node: every name that is asked for exists, unless its behaviour says otherwise."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

from node_agent.runtime.errors import ImageInUse, ImageNotFound, InvalidImageName
from node_agent.runtime.image_names import normalised
from node_agent.runtime.types import FsUsage, Image

_CAPACITY = 100 * 2**30
_INODES = 6_000_000
_MISSING = re.compile(r"(^|/)(missing|no-such-image)(:|@|$)")


class SimulatedImages:
    """Name → image. Sizes and ids follow from names, so they are the same on every node."""

    def __init__(self) -> None:
        self._images: dict[str, Image] = {}

    def pull(self, name: str) -> Image:
        """Raises InvalidImageName, and ImageNotFound for the names `missing` and `no-such-image`."""
        whole = normalised(name)
        if _MISSING.search(whole):
            raise ImageNotFound(f'image "{name}" not found: names like this one stand for images that do not exist')
        return self._images.setdefault(whole, self._made(whole))

    def load(self, archive: Path) -> tuple[str, ...]:
        return (self.pull(archive.name.removesuffix(".tar").replace("_", "/")).tags[0],)

    def find(self, name: str) -> Image | None:
        try:
            image = self._images.get(normalised(name))
        except InvalidImageName:
            image = None
        return image or next((each for each in self._images.values() if each.id == name), None)

    def all(self) -> list[Image]:
        return list(self._images.values())

    def remove(self, name: str, used: set[str]) -> None:
        image = self.find(name)
        if image is None:
            return
        if image.id in used:
            raise ImageInUse(f"image {name} is used by a container")
        self._images = {key: each for key, each in self._images.items() if each.id != image.id}

    def fs(self) -> FsUsage:
        used = sum(image.size for image in self._images.values())
        return FsUsage("/", used, len(self._images), _CAPACITY, _CAPACITY - used, _INODES, _INODES - len(self._images))

    @staticmethod
    def _made(name: str) -> Image:
        digest = sha256(name.encode()).hexdigest()
        size = 5_000_000 + int(digest[:6], 16)
        return Image(
            id=f"sha256:{digest}", tags=(name,), digests=(f"{name.partition('@')[0]}@sha256:{digest}",), size=size
        )
