"""What an archive calls its images, without loading it."""

from __future__ import annotations

from pathlib import Path

from node_agent.runtime.errors import BadArchive
from node_agent.runtime.image_names import normalised
from node_agent.runtime.image_store.archive import Archive
from node_agent.runtime.image_store.bounds import Bounds
from node_agent.runtime.image_store.plain import plain_archive


def archived_names(archive: Path, bounds: Bounds) -> tuple[str, ...]:
    """Names (ids where they have none); blocking. Raises BadArchive."""
    try:
        with plain_archive(archive, archive.parent, bounds) as file:
            images = Archive(file, bounds).images()
    except OSError as problem:
        raise BadArchive(f"{archive}: {problem.strerror or problem}") from problem
    except BadArchive as problem:
        raise BadArchive(f"{archive}: {problem}") from problem
    return tuple(name for image in images for name in (tuple(map(normalised, image.names)) or (image.id,)))
