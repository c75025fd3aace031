"""A whole master (store, API server, controllers) and each kubectl with a namespace of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness.require import require
from kubectl_cli import Kubectl

from control.testing.kube import KubeApi


@pytest.fixture(scope="session")
def master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeApi]:
    with KubeApi(tmp_path_factory.mktemp("master"), []) as api:
        yield api


@pytest.fixture(scope="module", params=["1.20", "1.32"])
def kubectl(request: pytest.FixtureRequest, master: KubeApi, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    program = require(f"kubectl-{request.param}")
    home = tmp_path_factory.mktemp(f"home-{request.param}")
    namespace = master.create_namespace(f"k{request.param.replace('.', '')}-")
    return Kubectl(program, request.param == "1.20", master.kubeconfig, home, namespace)
