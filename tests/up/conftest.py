"""Where the clusters of these tests live."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from control.up.cluster import Cluster


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A data directory; whatever is left of its cluster is ended."""
    found = tmp_path / "cluster"
    yield found
    if found.exists():
        Cluster(found).stop()
