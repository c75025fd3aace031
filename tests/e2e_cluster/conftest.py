"""One cluster for a file's tests: three masters, two nodes, in a folder of its own; nothing is left of it.

A file may name other runtimes than `process` by parametrizing the fixture.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness.require import require
from whole_cluster import WholeCluster
from whole_engines import engine
from whole_remains import nothing_is_left


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeCluster]:
    with engine(getattr(request, "param", "process")) as found:
        made = WholeCluster(tmp_path_factory.mktemp("whole") / "cluster", require("kubectl-1.32"), found)
        try:
            made.up("--masters", "3", "--nodes", "2", *found.words)
            yield made
        finally:
            made.down()
        nothing_is_left(made)
