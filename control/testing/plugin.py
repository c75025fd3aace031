"""The pytest plugin `fluyt`: fixtures etcd_cluster, kube_api, kube_namespace. See docs/testing.md.

pytest imports this module in every run of an environment that has fluyt installed, so it imports nothing but pytest;
what a fixture needs is loaded when a test first asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from control.testing.etcd import EtcdCluster
    from control.testing.kube import KubeApi


def pytest_addoption(parser: pytest.Parser) -> None:
    """The settings, all of them optional."""
    parser.addini("fluyt_etcd_members", "members of the store behind the fixture etcd_cluster", default="1")
    parser.addini("fluyt_up", "flags of `fluyt up` for the fixture kube_api", type="args", default=["--in-process"])


def pytest_configure(config: pytest.Config) -> None:
    """The marker, for --markers and --strict-markers."""
    config.addinivalue_line("markers", "etcd_members(n): give this test an etcd_cluster of n members")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with the marker gets the session's cluster of that size."""
    marker = metafunc.definition.get_closest_marker("etcd_members")
    if marker is not None and "etcd_cluster" in metafunc.fixturenames:
        metafunc.parametrize("etcd_cluster", [marker.args[0]], indirect=True, ids=[f"{marker.args[0]}-members"])


@pytest.fixture(scope="session")
def etcd_cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    """A store that speaks etcd's API, for the whole session; .endpoints says where."""
    from control.testing.etcd import EtcdCluster

    members = int(getattr(request, "param", 0) or request.config.getini("fluyt_etcd_members"))
    with EtcdCluster(tmp_path_factory.mktemp("etcd"), members) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def kube_api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeApi]:
    """A Kubernetes API server, for the whole session: .url, .kubeconfig, .ca, .token."""
    from control.testing.kube import KubeApi

    with KubeApi(tmp_path_factory.mktemp("kube"), request.config.getini("fluyt_up")) as api:
        yield api


@pytest.fixture
def kube_namespace(kube_api: KubeApi) -> Iterator[str]:
    """A namespace of the test's own; deleted, with all that is in it, afterwards."""
    name = kube_api.create_namespace()
    yield name
    kube_api.delete_namespace(name)
