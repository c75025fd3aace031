"""One master and one node with the process runtime; the agent is a child of its own, so that tests can end it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from agent_live_node import LiveNode
from harness.real_store import kube_api
from harness.require import require


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveNode]:
    kubectl = require("kubectl-1.32")
    master = tmp_path_factory.mktemp("master")
    with kube_api(master, []) as api:
        live = LiveNode(api, master, tmp_path_factory.mktemp("node"), kubectl)
        try:
            yield live
        finally:
            live.close()
