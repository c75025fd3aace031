"""Stores for the client's tests: ours and a real etcd, by the same names.

FLUYT_CLIENT_STORES (comma-separated kinds) narrows which stores the tests run against.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from harness.binaries import Kind
from harness.cluster import Cluster
from harness.require import require

from kvstore.client import Client
from kvstore.client.settings import Settings

STORES = os.environ.get("FLUYT_CLIENT_STORES", "fluyt,etcd-3.5").split(",")


@pytest.fixture(scope="session", params=STORES)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each kind of store in turn."""
    return cast(Kind, request.param)


@pytest.fixture(scope="session")
def store(kind: Kind) -> Iterator[Cluster]:
    """One member that lives as long as its tests: nobody stops it."""
    require(kind)
    with Cluster(kind, members=1) as cluster:
        yield cluster


@pytest.fixture
def client(store: Cluster) -> Iterator[Client]:
    """A blocking client of the store."""
    with Client(store.endpoints) as made:
        yield made


@pytest.fixture
def name() -> str:
    """A prefix that no other test uses."""
    return f"t-{uuid.uuid4().hex}/"


@pytest.fixture
def new_store(new_cluster: Callable[..., Cluster]) -> Callable[..., Cluster]:
    """Stores of the harness's subject that a test may break: `with new_store(members=3) as cluster` starts one."""

    def make(**options: Any) -> Cluster:
        return new_cluster(start=False, **options)

    return make


@pytest.fixture(params=["grpcio", "own"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Clients made in the test carry their calls by each gRPC library in turn."""
    monkeypatch.setitem(cast(Any, Settings.__init__).__kwdefaults__, "library", request.param)
    return cast(str, request.param)
