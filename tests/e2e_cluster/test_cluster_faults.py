"""What breaks, and what is whole again afterwards: kill -9, SIGSTOP, servers away, nodes cut off."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time

import pytest
from whole_cluster import GRACE, Object, WholeCluster, example, is_ready, named
from whole_remains import desired_is_actual, running, shims

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(os.geteuid() != 0, reason="the nodes' containers are made by root"),
]
# Seconds without any API server.
OUTAGE = 60.0
ROLES = ("store", "apiserver", "controllers", "scheduler")


@pytest.fixture(scope="module", autouse=True)
def workloads(cluster: WholeCluster) -> None:
    """A web server and two members with fixed names, which wait long for a node that is silent."""
    deploy(cluster, 300)


def deploy(cluster: WholeCluster, patience: int) -> None:
    """patience: seconds that pods stay on a node that is silent."""
    members = named(example("statefulset.yaml"), "StatefulSet")
    web = named(example("web.yaml"), "Deployment")
    how = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": patience}
    for each in (members, web):
        keys = ("node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready")
        each["spec"]["template"]["spec"]["tolerations"] = [{"key": key, **how} for key in keys]
    members["spec"]["replicas"] = 2
    web["spec"]["template"]["spec"]["containers"][0].pop("lifecycle")
    cluster.apply(*[each for each in example("web.yaml") if each["kind"] != "Deployment"], web, members)
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    cluster.kubectl("rollout", "status", "statefulset/db", "--timeout=60s")
    cluster.wait_ready("web", 3)
    cluster.wait_ready("db", 2)


def scale_and_back(cluster: WholeCluster) -> None:
    """A change that needs API server, controllers, scheduler and agents."""
    for replicas in (4, 3):
        cluster.kubectl("scale", "deployment/web", f"--replicas={replicas}")
        cluster.wait_ready("web", replicas)


def answers(pod: Object) -> bool:
    if not is_ready(pod):
        return False
    connection = http.client.HTTPConnection(pod["status"]["podIP"], 8080, timeout=10)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def identities(cluster: WholeCluster, app: str) -> dict[str, tuple[list[str], int]]:
    """Pod → its running containers, and how often they were restarted."""
    return {
        pod["metadata"]["name"]: (
            running(pod),
            sum(entry["restartCount"] for entry in pod["status"]["containerStatuses"]),
        )
        for pod in cluster.pods(app)
    }


def test_a_killed_process_of_a_master_is_not_missed(cluster: WholeCluster) -> None:
    victims = ["m1-store", "m2-apiserver", cluster.leader("controllers"), cluster.leader("scheduler")]
    for victim in victims:
        cluster.signal(victim, signal.SIGKILL)
    scale_and_back(cluster)
    cluster.up()
    assert all(cluster.pid(victim) for victim in victims)
    desired_is_actual(cluster)


def test_a_killed_master_is_not_missed(cluster: WholeCluster) -> None:
    master = cluster.leader("controllers").partition("-")[0]
    for role in ROLES:
        cluster.signal(f"{master}-{role}", signal.SIGKILL)
    scale_and_back(cluster)
    cluster.up()
    desired_is_actual(cluster)


def test_leaders_that_stand_still_are_replaced(cluster: WholeCluster) -> None:
    paused = [cluster.leader("controllers"), cluster.leader("scheduler")]
    for name in paused:
        cluster.signal(name, signal.SIGSTOP)
    try:
        cluster.kubectl("scale", "deployment/web", "--replicas=4")
        cluster.wait_ready("web", 4)
        successors = [cluster.leader("controllers"), cluster.leader("scheduler")]
    finally:
        for name in paused:
            cluster.signal(name, signal.SIGCONT)
    assert set(successors).isdisjoint(paused)
    # The old ones go on with what they were about to do; what they write is refused, and nothing comes twice.
    cluster.kubectl("scale", "deployment/web", "--replicas=3")
    cluster.wait_ready("web", 3)
    assert [cluster.leader("controllers"), cluster.leader("scheduler")] == successors
    desired_is_actual(cluster)


def test_containers_outlive_every_api_server(cluster: WholeCluster) -> None:
    pods = cluster.wait_ready("web", 3)
    before = identities(cluster, "web")
    for master in ("m1", "m2", "m3"):
        cluster.signal(f"{master}-apiserver", signal.SIGKILL)
    began = time.monotonic()
    assert all(answers(pod) for pod in pods)
    # A container ends meanwhile: its agent starts it again by itself.
    (lost,) = before[pods[0]["metadata"]["name"]][0]
    os.kill(main_process(cluster, lost), signal.SIGKILL)
    cluster.wait(lambda: len(shims(cluster.folder) - ids(before)) >= 3, "the container to run again")
    # Ten times as long as a node may be silent; afterwards it is known whose fault that was, and nobody is evicted.
    while time.monotonic() - began < OUTAGE:
        assert all(answers(pod) for pod in pods[1:])
        time.sleep(1)
    cluster.up()
    after = cluster.wait(lambda: ended_and_back(identities(cluster, "web"), before, lost), "the server to hear of it")
    assert sum(restarts for _, restarts in after.values()) == sum(restarts for _, restarts in before.values()) + 1
    scale_and_back(cluster)
    desired_is_actual(cluster)


def ids(found: dict[str, tuple[list[str], int]]) -> set[str]:
    return {identity for each, _ in found.values() for identity in each}


def ended_and_back(
    now: dict[str, tuple[list[str], int]], before: dict[str, tuple[list[str], int]], lost: str
) -> dict[str, tuple[list[str], int]] | None:
    """What runs, once all of it does but the one that was lost."""
    same = set(now) == set(before) and all(each for each, _ in now.values())
    return now if same and ids(before) - ids(now) == {lost} else None


def main_process(cluster: WholeCluster, container: str) -> int:
    """The container's first process: the child of its shim."""
    (folder,) = cluster.folder.glob(f"n*/runtime/containers/{container}")
    return int(json.loads((folder / "state.json").read_text())["pid"])


def test_a_restarted_agent_restarts_nothing(cluster: WholeCluster) -> None:
    before = identities(cluster, "web") | identities(cluster, "db")
    for node in ("n1", "n2"):
        cluster.signal(f"{node}-agent", signal.SIGKILL)
    assert all(answers(pod) for pod in cluster.pods("web"))
    cluster.up()
    for name in before:
        cluster.wait(lambda name=name: cluster.kubectl("exec", name, "--", "echo", "here", code=None) == "here\n", name)
    assert identities(cluster, "web") | identities(cluster, "db") == before
    desired_is_actual(cluster)


def test_a_node_that_is_cut_off_is_given_up(cluster: WholeCluster) -> None:
    """Its agent stands still, its containers go on: the worst case for what must not run twice."""
    deploy(cluster, 1)
    member = cluster.wait_ready("db", 2)[1]
    node, uid = member["spec"]["nodeName"], member["metadata"]["uid"]
    other = "n1" if node == "n2" else "n2"
    cluster.signal(f"{node}-agent", signal.SIGSTOP)
    try:

        def moved() -> bool:
            found = [pod for pod in cluster.pods("web") if "deletionTimestamp" not in pod["metadata"]]
            ready = [pod for pod in found if pod["spec"].get("nodeName") == other]
            return len(found) == 3 and len(ready) == 3 and all(answers(pod) for pod in ready)

        cluster.wait(moved, "the web servers on the other node", GRACE + 40)
        doomed = cluster.wait(lambda: going(cluster, "db-1"), "the member's eviction", 30)
        # It may still run where it was, so there must be no other of that name.
        assert (doomed["metadata"]["uid"], doomed["spec"]["nodeName"]) == (uid, node)
        assert "NotReady" in cluster.kubectl("get", "node", node)
    finally:
        cluster.signal(f"{node}-agent", signal.SIGCONT)
    again = cluster.wait(lambda: replaced(cluster, uid), "the member to be made anew")
    assert again["metadata"]["name"] == "db-1"
    cluster.wait_ready("db", 2)
    cluster.wait_ready("web", 3)
    cluster.kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=30s")
    desired_is_actual(cluster)


def going(cluster: WholeCluster, name: str) -> Object | None:
    found = [pod for pod in cluster.pods("db") if pod["metadata"]["name"] == name]
    return found[0] if found and "deletionTimestamp" in found[0]["metadata"] else None


def replaced(cluster: WholeCluster, uid: str) -> Object | None:
    pods = cluster.pods("db")
    return pods[1] if len(pods) == 2 and pods[1]["metadata"]["uid"] != uid else None
