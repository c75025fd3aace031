"""One cluster for all tests of this folder; each test has a namespace of its own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from harness.folder import of_folder
from harness.real_store import kube_api
from live_cluster import Live

_numbers = itertools.count(1)


@contextmanager
def _cluster(folder: Path) -> Iterator[Live]:
    with kube_api(folder, []) as api:
        yield Live(api, folder)


@pytest.fixture(scope="module")
def live(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Live:
    return of_folder(request, "live", lambda: _cluster(tmp_path_factory.mktemp("controllers")))


@pytest.fixture
def namespace(live: Live) -> str:
    """A namespace with its service account, which the controllers make."""
    name = f"live-{next(_numbers)}"
    live.create("namespaces", "", {"metadata": {"name": name}})
    live.wait(lambda: live.get("serviceaccounts", name, "default"), "the service account")
    return name
