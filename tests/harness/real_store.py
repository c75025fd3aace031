"""The store under the API servers of tests: ours, or with FLUYT_TEST_STORE=etcd-3.4 (or etcd-3.5) a real etcd.

Every fixture that starts an API server asks here, so one variable puts the whole control plane on a store that is not
ours; `scripts/soak --etcd` runs exactly that.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from control.testing.kube import KubeApi
from harness.binaries import KINDS, Kind
from harness.cluster import Cluster
from harness.require import require

VARIABLE = "FLUYT_TEST_STORE"


def store_kind() -> Kind:
    """What FLUYT_TEST_STORE names; ours without it."""
    name = os.environ.get(VARIABLE) or "fluyt"
    for kind in KINDS:
        if kind == name:
            return kind
    raise ValueError(f"{VARIABLE}={name!r}: expected one of {', '.join(KINDS)}")


def external_store(members: int = 1) -> Cluster | None:
    """A running etcd, to be closed by the caller; None when `fluyt up` is to start its own store."""
    kind = store_kind()
    if kind == "fluyt":
        return None
    require(kind)
    return Cluster(kind, members).__enter__()


def up_words(store: Cluster | None) -> list[str]:
    """What tells `fluyt up` of it."""
    return ["--etcd-servers", ",".join(f"http://{endpoint}" for endpoint in store.endpoints)] if store else []


@contextmanager
def store_words() -> Iterator[list[str]]:
    """Words for `fluyt up`; what they name lives as long as the block."""
    store = external_store()
    try:
        yield up_words(store)
    finally:
        if store:
            store.close()


@contextmanager
def kube_api(folder: Path, flags: Sequence[str]) -> Iterator[KubeApi]:
    """`fluyt up` with those flags, on that store."""
    with store_words() as words, KubeApi(folder, [*flags, *words]) as api:
        yield api
