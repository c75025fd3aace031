"""An API server of `fluyt up --in-process`, and the kubernetes client configured for it."""

from __future__ import annotations

from collections.abc import Iterator

import kubernetes
import pytest

from control.testing.kube import KubeApi


@pytest.fixture
def namespace(served_api: KubeApi) -> Iterator[str]:
    """A namespace of the test's own."""
    name = served_api.create_namespace()
    yield name
    served_api.delete_namespace(name)


@pytest.fixture(scope="package")
def api_client(served_api: KubeApi) -> Iterator[kubernetes.client.ApiClient]:
    """The kubernetes client, from the kubeconfig as a user would."""
    with kubernetes.config.new_client_from_config(str(served_api.kubeconfig)) as client:
        yield client
