"""The two nodes of the live tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from harness.require import missing, require
from network_values import node
from network_world import NODES, World, services_of_the_world, slices


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    if os.geteuid() != 0:
        missing("network namespaces need root")
    require("ip")
    require("nft")
    made = World(tmp_path_factory.mktemp("network"))
    try:
        for name in NODES:
            made.start(name)
        made.tell("nodes", *(node(name, *places) for name, places in NODES.items()))
        addresses = {name: made.attach(name, host_ports=[8088] if name == "a" else []) for name in NODES}
        for pod in ("pa", "pb"):
            made.serve(pod)
        made.tell(*services_of_the_world())
        made.tell("endpointslices.discovery.k8s.io", *slices(addresses))
        yield made
    finally:
        made.close()
