"""Any archive as a docker-archive: what every Docker engine loads (OCI layouts only since version 25)."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from node_agent.runtime.image_store.archive import Archive, ArchivedImage
from node_agent.runtime.image_store.bounds import Bounds
from node_agent.runtime.image_store.plain import plain_archive


@contextmanager
def docker_form(archive: Path, bounds: Bounds) -> Iterator[IO[bytes]]:
    """The archive itself, or a copy beside it in the other form while the block runs. Raises BadArchive, OSError."""
    with plain_archive(archive, archive.parent, bounds) as file:
        opened = Archive(file, bounds)
        if opened.is_docker:
            file.seek(0)
            yield file
            return
        with tempfile.TemporaryFile(dir=archive.parent) as copy:
            _write(opened, copy)
            copy.seek(0)
            yield copy


def _write(archive: Archive, into: IO[bytes]) -> None:
    with tarfile.open(fileobj=into, mode="w") as tar:
        manifest = [_image(archive, image, tar) for image in archive.images()]
        _add(tar, "manifest.json", json.dumps(manifest).encode())


def _image(archive: Archive, image: ArchivedImage, tar: tarfile.TarFile) -> dict[str, object]:
    config = f"{image.id.removeprefix('sha256:')}.json"
    _add(tar, config, image.document)
    layers = []
    for member, diff in image.layers:
        name = f"{diff.removeprefix('sha256:')}.tar"
        with tempfile.TemporaryFile() as plain, archive.layer(member) as layer:
            shutil.copyfileobj(layer, plain, 1 << 20)
            info = tarfile.TarInfo(name)
            info.size = plain.tell()
            plain.seek(0)
            tar.addfile(info, plain)
        layers.append(name)
    return {"Config": config, "RepoTags": list(image.names), "Layers": layers}


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
