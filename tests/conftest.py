"""Fixtures for real clusters, and what a failed test shows of them."""

from __future__ import annotations

import gc
import os
import random
import signal
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from harness.binaries import Kind, subject
from harness.cluster import Cluster, ClusterFactory, open_clusters
from harness.plan import examples, is_second_opinion, longest_first
from harness.process import kill_all
from harness.require import require
from hypothesis import settings

if TYPE_CHECKING:
    from control.testing.kube import KubeApi

# A run in the background of a shell ignores SIGINT, and so would every program it starts; tests interrupt some.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What nobody refers to is freed at once; what refers to itself stays."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """A seed for this test: FLUYT_SEED if set, else a new one; a failed test prints it."""
    value = int(os.environ.get("FLUYT_SEED") or random.SystemRandom().randrange(1 << 32))
    request.node.user_properties.append(("seed", value))
    print(f"seed: FLUYT_SEED={value}")
    return value


@pytest.fixture
def new_cluster() -> Iterator[ClusterFactory]:
    """Starts clusters that end with the test: new_cluster(kind=None, members=3, flags=(), start=True)."""
    made: list[Cluster] = []

    def make(kind: Kind | None = None, members: int = 3, start: bool = True, **options: Any) -> Cluster:
        kind = kind or subject()
        require(kind)
        cluster = Cluster(kind, members, **options)
        made.append(cluster)
        return cluster.start() if start else cluster

    yield make
    for cluster in made:
        cluster.close()


@pytest.fixture(scope="session")
def served_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeApi]:
    """Store, API server, controllers and scheduler in one process, for all tests that need just some API server."""
    from harness.real_store import kube_api

    with kube_api(tmp_path_factory.mktemp("served"), ["--in-process"]) as api:
        yield api


def pytest_configure(config: pytest.Config) -> None:
    """Keep xdist from sorting the files by how many tests they have: ours are sorted by how long they take.

    Examples of hypothesis may take as long as they do: a busy machine is no failure.
    """
    config.option.loadscopereorder = False
    settings.register_profile("fluyt", deadline=None, max_examples=examples(100))
    settings.load_profile("fluyt")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long, or says again what another test said, is for scripts/soak."""
    longest_first(items)
    if not os.environ.get("FLUYT_SOAK"):
        for item in items:
            if item.get_closest_marker("soak") or is_second_opinion(item):
                item.add_marker(pytest.mark.skip(reason="takes long: FLUYT_SOAK=1 (scripts/soak) runs it"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Put the end of every live member's log into the report of a failed test, and keep the files."""
    report = yield
    if report.failed:
        for cluster in open_clusters:
            cluster.keep_logs = True
            report.sections.append((f"files of {cluster.kind}", str(cluster.directory)))
            for index, member in enumerate(cluster.members):
                report.sections.append((f"log of {cluster.kind} {member.name}", cluster.log_tail(index, 8, 200)))
    return report


def pytest_sessionfinish() -> None:
    """No child outlives the run, whatever failed."""
    kill_all()
