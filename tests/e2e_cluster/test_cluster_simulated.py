"""Simulated nodes under `fluyt up`: figures that can be set, an autoscaler that follows them, runtimes that err."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.require import require
from whole_cluster import FLAGS, Object, WholeCluster
from whole_remains import nothing_is_left, running

pytestmark = pytest.mark.soak
LOAD = "fluyt.dev/simulate"
# More, and back-offs of minutes would be what is waited for.
ERRING = ("agent.simulated-error-rate=0.05", "agent.simulated-seed=7")


@pytest.fixture
def simulated(tmp_path: Path) -> Iterator[WholeCluster]:
    """Not started yet; nothing is left of it."""
    made = WholeCluster(tmp_path / "cluster", require("kubectl-1.32"))
    yield made
    made.down()
    nothing_is_left(made)


def deployment(name: str, replicas: int, simulate: str = "") -> Object:
    container = {"name": "main", "image": "any", "resources": {"requests": {"cpu": "100m"}}}
    metadata: dict[str, Any] = {"labels": {"app": name}, "annotations": {LOAD: simulate}}
    template = {"metadata": metadata, "spec": {"containers": [container], "terminationGracePeriodSeconds": 1}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def autoscaler(name: str) -> Object:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    metric = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 100}}
    spec = {
        "scaleTargetRef": target,
        "minReplicas": 1,
        "maxReplicas": 5,
        "metrics": [{"type": "Resource", "resource": metric}],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
    }
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": name}, "spec": spec}


@pytest.mark.timeout(300)
def test_an_autoscaler_follows_the_load_that_is_set(simulated: WholeCluster) -> None:
    simulated.up("--nodes", "3", "--runtime", "simulated")
    simulated.apply(deployment("web", 1, "cpu=10m, memory=64Mi"), autoscaler("web"))
    (first,) = simulated.wait_ready("web", 1)
    name = first["metadata"]["name"]
    said = simulated.wait(lambda: simulated.kubectl("top", "pod", name, "--no-headers", code=None), "its figures")
    simulated.wait(lambda: "64Mi" in simulated.kubectl("top", "pod", name, "--no-headers", code=None), said)
    assert len(simulated.kubectl("top", "nodes", "--no-headers").splitlines()) == 3
    simulated.kubectl("annotate", "pod", name, f"{LOAD}=cpu=300m, memory=96Mi", "--overwrite")
    # 300m where one pod has asked for 100m: three pods and no fourth.
    simulated.wait_ready("web", 3, 60)
    assert "96Mi" in simulated.kubectl("top", "pod", name, "--no-headers")
    simulated.kubectl("annotate", "pods", "-l", "app=web", f"{LOAD}=cpu=20m", "--overwrite")
    simulated.wait(lambda: len(simulated.pods("web")) == 1, "one pod again", 60)
    simulated.kubectl("annotate", "pods", "-l", "app=web", f"{LOAD}=cpu=much", "--overwrite")
    simulated.wait(lambda: "'cpu=much'" in simulated.kubectl("get", "events"), "an event about the wrong word")


@pytest.mark.timeout(300)
def test_runtimes_that_err_at_random_converge(simulated: WholeCluster) -> None:
    """Every twentieth operation fails, for three masters and ten nodes; at the end what runs is what is wanted."""
    simulated.up("--masters", "3", "--nodes", "10", "--runtime", "simulated", extra=(*FLAGS, *ERRING))
    simulated.apply(deployment("web", 25))
    simulated.wait_ready("web", 25, 120)
    simulated.kubectl("set", "env", "deployment/web", "VERSION=2")
    simulated.kubectl("rollout", "status", "deployment/web", "--timeout=75s")
    simulated.kubectl("scale", "deployment/web", "--replicas=10")
    simulated.wait_ready("web", 10, 90)
    simulated.wait(lambda: containers(simulated) == wanted(simulated), "the runtimes to have these and no others", 60)
    simulated.kubectl("delete", "deployment", "web")
    simulated.wait(lambda: containers(simulated) == set() and not simulated.pods("web"), "nothing", 60)


def wanted(cluster: WholeCluster) -> set[str]:
    return {pod["metadata"]["name"] for pod in cluster.pods("web") if running(pod)}


def containers(cluster: WholeCluster) -> set[str]:
    """Pods with containers, as the nodes' runtimes say."""
    found = set[str]()
    for node in cluster.list("nodes"):
        path = f"/api/v1/nodes/{node['metadata']['name']}/proxy/stats/summary"
        said = cluster.kubectl("get", "--raw", path, code=None)
        # Its own runtime errs, too.
        summary = (
            json.loads(said) if said.startswith("{") else {"pods": [{"podRef": {"name": said}, "containers": [0]}]}
        )
        found |= {pod["podRef"]["name"] for pod in summary["pods"] if pod["containers"]}
    return found
