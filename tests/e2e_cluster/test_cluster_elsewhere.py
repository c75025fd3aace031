"""The same on what is not ours: a real etcd; with FLUYT_SOAK=1 Docker, containerd, a hundred nodes, real graces."""

from __future__ import annotations

import os
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.cluster import ClusterFactory
from harness.require import require
from whole_clients import PodWatch
from whole_cluster import Object, WholeCluster, example, named
from whole_engines import DAEMONS, engine
from whole_remains import desired_is_actual, nothing_is_left

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the nodes' containers are made by root")


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[WholeCluster]:
    """Not started yet; nothing is left of it."""
    made = WholeCluster(tmp_path / "cluster", require("kubectl-1.32"))
    yield made
    made.down()
    nothing_is_left(made)


@pytest.mark.soak
def test_on_debians_etcd(bare: WholeCluster, new_cluster: ClusterFactory) -> None:
    store = new_cluster("etcd-3.4", members=1)
    bare.up("--nodes", "1", "--etcd-servers", f"http://{store.endpoints[0]}")
    assert not [row.name for row in bare.cluster.rows if row.role == "store"]
    update_and_roll_back(bare, example("web.yaml"))
    desired_is_actual(bare)


def update_and_roll_back(cluster: WholeCluster, objects: list[Object]) -> None:
    cluster.apply(*objects)
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=75s")
    with PodWatch(cluster, "web") as watch:
        for words in (["set", "env", "deployment/web", "VERSION=2"], ["rollout", "undo", "deployment/web"]):
            cluster.kubectl(*words)
            cluster.kubectl("rollout", "status", "deployment/web", "--timeout=75s")
    assert watch.fewest_ready() >= 3


@pytest.mark.soak
@pytest.mark.timeout(400)
@pytest.mark.parametrize("runtime", sorted(DAEMONS))
def test_a_master_is_lost_on_engines_of_others(runtime: str, tmp_path: Path) -> None:
    with engine(runtime) as found:
        cluster = WholeCluster(tmp_path / "cluster", require("kubectl-1.32"), found)
        try:
            cluster.up("--masters", "3", "--nodes", "2", *found.words)
            cluster.apply(*example("web.yaml"))
            cluster.wait_ready("web", 3)
            leader = cluster.leader("controllers").partition("-")[0]
            for role in ("store", "apiserver", "controllers", "scheduler"):
                cluster.signal(f"{leader}-{role}", signal.SIGKILL)
            cluster.kubectl("scale", "deployment/web", "--replicas=5")
            cluster.wait_ready("web", 5)
            desired_is_actual(cluster)
        finally:
            cluster.down()
        assert found.running(cluster.folder) == set()
        nothing_is_left(cluster)


@pytest.mark.soak
@pytest.mark.timeout(400)
def test_a_hundred_nodes_and_the_loss_of_a_master(bare: WholeCluster) -> None:
    bare.up("--masters", "3", "--nodes", "100", "--runtime", "simulated", extra=())
    web = named(example("web.yaml"), "Deployment")
    web["spec"]["replicas"] = 500
    bare.apply(*[each for each in example("web.yaml") if each["kind"] != "Deployment"], web)
    bare.wait_ready("web", 500, 200)
    leader = bare.leader("controllers").partition("-")[0]
    for role in ("store", "apiserver", "controllers", "scheduler"):
        bare.signal(f"{leader}-{role}", signal.SIGKILL)
    bare.kubectl("scale", "deployment/web", "--replicas=100")
    bare.wait_ready("web", 100, 200)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_node_is_given_up_after_kubernetes_own_times(bare: WholeCluster) -> None:
    bare.up("--masters", "1", "--nodes", "2", extra=())
    bare.apply(*example("web.yaml"))
    bare.wait_ready("web", 3)
    bare.signal("n2-agent", signal.SIGSTOP)
    try:

        def moved() -> bool:
            pods = [pod for pod in bare.pods("web") if "deletionTimestamp" not in pod["metadata"]]
            return len(pods) == 3 and all(pod["spec"].get("nodeName") == "n1" for pod in pods)

        bare.wait(moved, "the pods on n1", 120)
    finally:
        bare.signal("n2-agent", signal.SIGCONT)
    desired_is_actual(bare)


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_two_clusters_share_a_machine(bare: WholeCluster, tmp_path: Path) -> None:
    """One with pods on the machine's network, one with pods on bridges; both with a Service on the same node port."""
    other = WholeCluster(tmp_path / "other", require("kubectl-1.32"))
    objects = example("web.yaml")
    named(objects, "Service")["spec"] |= {
        "type": "NodePort",
        "ports": [{"port": 80, "targetPort": 8080, "nodePort": 30923}],
    }
    try:
        for each, words in ((bare, ()), (other, ("--network", "bridge"))):
            each.up("--nodes", "2", *words)
            each.apply(*objects)
            each.wait_ready("web", 3)
        for each in (bare, other):
            each.wait(lambda each=each: said_by(each, cluster_ip(each)) in names(each), "its own Service")
        assert said_by(bare, "127.0.0.1:30923") in names(bare)
        refused = other.wait(
            lambda: other.kubectl("get", "events", "--field-selector=reason=FailedToOpenPort"), "an event"
        )
        assert "Port 30923/TCP of node" in refused
        bare.kubectl("delete", "service", "web")
        other.wait(lambda: said_by(other, "127.0.0.1:30923") in names(other), "the node port, which is free now")
        addresses = {pod["status"]["podIP"] for pod in other.pods("web")}
        for node in ("n1", "n2"):
            other.signal(f"{node}-agent", signal.SIGKILL)
        assert said_by(other, "127.0.0.1:30923") in names(other)
        other.up()
        assert {pod["status"]["podIP"] for pod in other.wait_ready("web", 3)} == addresses
        assert all(said_by(other, f"{address}:8080") in names(other) for address in addresses)
        desired_is_actual(other)
        other.down()
        nothing_is_left(other)
        bare.apply(*objects)
        bare.wait(lambda: said_by(bare, cluster_ip(bare)) in names(bare), "the first cluster's Service")
        desired_is_actual(bare)
    finally:
        other.down()


def cluster_ip(cluster: WholeCluster) -> str:
    return cluster.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")


def names(cluster: WholeCluster) -> set[str]:
    return {pod["metadata"]["name"] for pod in cluster.pods("web")}


def said_by(cluster: WholeCluster, place: str) -> str:
    """The pod that answers there; "" when none does."""
    try:
        with urllib.request.urlopen(f"http://{place}/", timeout=3) as answer:
            return str(answer.read().decode().split()[2])
    except OSError:
        return ""
