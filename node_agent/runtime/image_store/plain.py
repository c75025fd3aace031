"""An archive as a plain file: what is compressed is unpacked beside the images first, within bounds."""

from __future__ import annotations

import contextlib
import gzip
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from node_agent.runtime.errors import BadArchive
from node_agent.runtime.image_store.bounds import Bounds

_GZIP = b"\x1f\x8b"


@contextlib.contextmanager
def plain_archive(archive: Path, root: Path, bounds: Bounds) -> Iterator[IO[bytes]]:
    """The archive as a seekable, uncompressed file; a compressed one is unpacked beside the images, within bounds."""
    with open(archive, "rb") as file:
        if file.read(2) != _GZIP:
            file.seek(0)
            yield file
            return
        file.seek(0)
        with tempfile.TemporaryFile(dir=root) as copy:
            _gunzip(file, copy, bounds)
            copy.seek(0)
            yield copy


def _gunzip(source: IO[bytes], target: IO[bytes], bounds: Bounds) -> None:
    try:
        with gzip.GzipFile(fileobj=source) as unzipped:
            while data := unzipped.read(1 << 20):
                if target.tell() > bounds.unpacked:
                    raise BadArchive(f"it is more than {bounds.unpacked} bytes")
                target.write(data)
    except (EOFError, gzip.BadGzipFile) as problem:
        raise BadArchive(f"damaged: {problem}") from problem
