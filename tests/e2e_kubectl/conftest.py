"""A whole master in one process (store, API server, controllers, scheduler), and each kubectl in its own namespace."""

from __future__ import annotations

import pytest
from harness.folder import of_folder
from harness.real_store import kube_api
from harness.require import require
from kubectl_cli import Kubectl

from control.testing.kube import KubeApi


@pytest.fixture(scope="module")
def master(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> KubeApi:
    return of_folder(request, "master", lambda: kube_api(tmp_path_factory.mktemp("master"), ["--in-process"]))


def open_kubectl(version: str, master: KubeApi, homes: pytest.TempPathFactory) -> Kubectl:
    program = require(f"kubectl-{version}")
    namespace = master.create_namespace(f"k{version.replace('.', '')}-")
    return Kubectl(program, version == "1.20", master, homes.mktemp(f"home-{version}"), namespace)


@pytest.fixture(scope="module", params=["1.20", "1.32"])
def kubectl(request: pytest.FixtureRequest, master: KubeApi, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    """Both versions, one after the other."""
    return open_kubectl(request.param, master, tmp_path_factory)


@pytest.fixture(scope="module")
def newest(master: KubeApi, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    """The newer one alone: for what it alone can, or what is the server's business whichever version asks."""
    return open_kubectl("1.32", master, tmp_path_factory)
