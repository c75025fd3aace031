"""One cluster for all tests of this folder; each test has a namespace of its own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from harness.real_store import kube_api
from live_cluster import Live

_numbers = itertools.count(1)


@pytest.fixture(scope="package")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("controllers")
    with kube_api(folder, []) as api:
        yield Live(api, folder)


@pytest.fixture
def namespace(live: Live) -> str:
    """A namespace with its service account, which the controllers make."""
    name = f"live-{next(_numbers)}"
    live.create("namespaces", "", {"metadata": {"name": name}})
    live.wait(lambda: live.get("serviceaccounts", name, "default"), "the service account")
    return name
