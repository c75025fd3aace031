"""An API server of `fluyt up --in-process`, and the kubernetes client configured for it."""

from __future__ import annotations

from collections.abc import Iterator

import kubernetes
import pytest

from control.testing.kube import KubeApi


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeApi]:
    """Store, API server, controllers and scheduler."""
    with KubeApi(tmp_path_factory.mktemp("served"), ["--in-process"]) as api:
        yield api


@pytest.fixture
def namespace(served: KubeApi) -> Iterator[str]:
    """A namespace of the test's own."""
    name = served.create_namespace()
    yield name
    served.delete_namespace(name)


@pytest.fixture(scope="session")
def api_client(served: KubeApi) -> Iterator[kubernetes.client.ApiClient]:
    """The kubernetes client, from the kubeconfig as a user would."""
    with kubernetes.config.new_client_from_config(str(served.kubeconfig)) as client:
        yield client
