"""API servers that the tests of this folder share; each test works in a namespace of its own."""

from __future__ import annotations

import itertools
from contextlib import nullcontext

import pytest
from harness.api_site import Api, Site
from harness.folder import of_folder
from harness.real_store import store_kind

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest) -> Site:
    """An API server on our own store, or on what FLUYT_TEST_STORE names."""
    return of_folder(request, store_kind(), Site)


@pytest.fixture(scope="module", params=["fluyt", "etcd-3.4"])
def any_site(request: pytest.FixtureRequest) -> Site:
    """An API server on our own store, and one on Debian's etcd."""
    return of_folder(request, request.param, lambda: Site(request.param))


@pytest.fixture(scope="module")
def later(request: pytest.FixtureRequest, site: Site) -> Api:
    """A second server on the same store, started when there was something in it."""
    return of_folder(request, "later", lambda: nullcontext(site.api(site.add_server())))


@pytest.fixture
def api(site: Site) -> Api:
    return site.api()


@pytest.fixture
def any_api(any_site: Site) -> Api:
    return any_site.api()


@pytest.fixture
def namespace(api: Api) -> str:
    """The path of a namespace of the test's own."""
    return api.namespace(f"test-{next(_numbers)}")


@pytest.fixture
def any_namespace(any_api: Api) -> str:
    """Likewise, on either store."""
    return any_api.namespace(f"either-{next(_numbers)}")
