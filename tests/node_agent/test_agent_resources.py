"""Cgroup figures, class of service, security, network facts, configurations: by value."""

from __future__ import annotations

from typing import Any

import pytest
from agent_values import pod

from node_agent.pod.config import NodeFacts, container_config, mount_plans, sandbox_config
from node_agent.pod.fields import ConfigProblem
from node_agent.pod.network import ClusterDns, dns_of, host_name, host_ports, port_mappings
from node_agent.pod.resources import cgroup_resources, pod_requests, qos_class
from node_agent.pod.security import ignored, security_of

Object = dict[str, Any]
FACTS = NodeFacts(
    name="n1",
    ips=("10.0.0.1",),
    memory=8 << 30,
    allocatable={},
    dns=ClusterDns(("10.96.0.10",)),
    log_root="/logs",
    pod_network=True,
)


def asks(name: str = "web", requests: Object | None = None, limits: Object | None = None, **more: Any) -> Object:
    return {"name": name, "resources": {"requests": requests or {}, "limits": limits or {}}, **more}


@pytest.mark.parametrize(
    ("containers", "wanted"),
    [
        ([asks()], "BestEffort"),
        ([asks(requests={"cpu": "1"})], "Burstable"),
        ([asks(limits={"cpu": "1", "memory": "1Gi"})], "Guaranteed"),
        ([asks(requests={"cpu": "1", "memory": "1Gi"}, limits={"cpu": "1000m", "memory": "1024Mi"})], "Guaranteed"),
        ([asks(limits={"cpu": "1", "memory": "1Gi"}), asks("b")], "Burstable"),
        ([asks(requests={"ephemeral-storage": "1Gi"})], "BestEffort"),
    ],
)
def test_classes_of_service(containers: list[Object], wanted: str) -> None:
    assert qos_class(pod(*containers)) == wanted


def test_cgroup_figures() -> None:
    container = asks(requests={"cpu": "250m", "memory": "1Gi"}, limits={"cpu": "1500m", "memory": "2Gi"})
    found = cgroup_resources(pod(container), container, 8 << 30)
    assert (found.cpu_shares, found.cpu_quota, found.cpu_period) == (256, 150_000, 100_000)
    assert found.memory == 2 << 30
    assert found.oom_score_adj == 875
    none = cgroup_resources(pod(asks()), asks(), 8 << 30, pids=7)
    assert (none.cpu_shares, none.cpu_quota, none.memory, none.oom_score_adj, none.pids) == (2, 0, 0, 1000, 7)
    full = asks(limits={"cpu": "1m", "memory": "1Gi"})
    assert cgroup_resources(pod(full), full, 8 << 30).oom_score_adj == -997
    assert cgroup_resources(pod(full), full, 8 << 30).cpu_quota == 1000
    small = asks(requests={"memory": "1"})
    assert cgroup_resources(pod(small), small, 8 << 30).oom_score_adj == 999


def test_requests_of_a_pod_count_init_containers_as_they_run() -> None:
    of = pod(
        asks("a", {"cpu": "1"}),
        asks("b", {"cpu": "1", "memory": "1Gi"}),
        init=(
            asks("i1", {"cpu": "3"}),
            asks("side", {"cpu": "500m"}, restartPolicy="Always"),
            asks("i2", {"memory": "4Gi"}),
        ),
        overhead={"cpu": "100m"},
    )
    assert pod_requests(of) == {"cpu": 3100, "memory": 4 << 30}


def test_security_of_the_container_over_the_pods() -> None:
    of = pod(securityContext={"runAsUser": 1000, "runAsGroup": 3000, "fsGroup": 2000, "supplementalGroups": [5]})
    container = {
        "name": "web",
        "securityContext": {
            "runAsUser": 7,
            "privileged": True,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"add": ["NET_ADMIN", "CAP_SYS_TIME"], "drop": ["ALL"]},
        },
    }
    found = security_of(of, container)
    assert (found.user, found.group, found.supplemental_groups) == (7, 3000, (5, 2000))
    assert (found.privileged, found.read_only_rootfs, found.no_new_privs) == (True, True, True)
    assert (found.add_capabilities, found.drop_capabilities) == (("NET_ADMIN", "SYS_TIME"), ("ALL",))


@pytest.mark.parametrize(
    ("user", "image_user", "problem"),
    [
        (0, "", "container's runAsUser breaks non-root policy"),
        (None, "", "image will run as root"),
        (None, "0:0", "image will run as root"),
        (None, "nginx", "non-numeric user"),
        (None, "101:101", None),
        (5, "nginx", None),
    ],
)
def test_run_as_non_root(user: int | None, image_user: str, problem: str | None) -> None:
    container = {"name": "web", "securityContext": {"runAsNonRoot": True, "runAsUser": user}}
    if problem is None:
        security_of(pod(), container, image_user)
    else:
        with pytest.raises(ConfigProblem, match=problem):
            security_of(pod(), container, image_user)


def test_what_is_not_enforced_is_named() -> None:
    of = pod(
        {"name": "web", "securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "x"}}},
        securityContext={"seccompProfile": {"type": "RuntimeDefault"}},
        hostUsers=False,
    )
    assert ignored(of) == ["seccomp profile", "user namespace"]
    assert ignored(pod()) == []


def test_dns() -> None:
    cluster = ClusterDns(("10.96.0.10",))
    first = dns_of(pod(), cluster)
    assert first.servers == ("10.96.0.10",)
    assert first.searches == ("default.svc.cluster.local", "svc.cluster.local", "cluster.local")
    assert first.options == ("ndots:5",)
    assert dns_of(pod(hostNetwork=True), cluster).servers == ()
    assert dns_of(pod(hostNetwork=True, dnsPolicy="ClusterFirstWithHostNet"), cluster).servers == ("10.96.0.10",)
    own = {
        "nameservers": ["1.1.1.1"],
        "searches": ["x"],
        "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
    }
    none = dns_of(pod(dnsPolicy="None", dnsConfig=own), cluster)
    assert (none.servers, none.searches, none.options) == (("1.1.1.1",), ("x",), ("ndots:2", "edns0"))
    assert dns_of(pod(dnsConfig=own), cluster).options == ("ndots:2", "edns0")
    assert dns_of(pod(), ClusterDns()).servers == ()


def test_host_names_and_ports() -> None:
    assert host_name(pod(), "n1") == "p"
    assert host_name(pod(hostname="given"), "n1") == "given"
    assert host_name(pod(hostNetwork=True), "n1") == "n1"
    ports = [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 53, "protocol": "UDP"}]
    of = pod({"name": "web", "ports": ports})
    assert [(m.container_port, m.host_port, m.protocol) for m in port_mappings(of)] == [(80, 8080, "TCP")]
    assert host_ports(of) == {("TCP", 8080, "")}
    of["spec"]["hostNetwork"] = True
    assert port_mappings(of) == ()
    assert host_ports(of) == {("TCP", 8080, ""), ("UDP", 53, "")}


def test_configurations() -> None:
    of = pod(
        {"name": "web", "command": ["run", "$(A)"], "args": ["$$(A)"], "tty": True}, hostAliases=[{"ip": "1.1.1.1"}]
    )
    of["metadata"]["annotations"] = {"fluyt.dev/simulate": "exit=1", "other": "x"}
    sandbox = sandbox_config(of, FACTS, 2)
    assert (sandbox.hostname, sandbox.host_network, sandbox.attempt) == ("p", False, 2)
    assert sandbox.log_directory == "/logs/default_p_u1"
    assert sandbox.labels["io.kubernetes.pod.uid"] == "u1"
    found = container_config(of, of["spec"]["containers"][0], FACTS, 3, {"A": "1"}, (), "i@sha256:x")
    assert (found.command, found.args, found.log_path) == (("run", "1"), ("$(A)",), "web/3.log")
    assert found.annotations["fluyt.dev/simulate"] == "exit=1"
    assert "other" not in found.annotations
    assert found.tty


@pytest.mark.parametrize(
    ("mount", "problem"),
    [
        ({"name": "none", "mountPath": "/x"}, "names no volume"),
        ({"name": "v", "mountPath": "/x", "subPath": "../etc"}, "must not contain"),
        ({"name": "v", "mountPath": "/x", "subPath": "/etc"}, "must be relative"),
        ({"name": "v", "mountPath": "/x", "subPathExpr": "$(NOPE)"}, "is not set"),
        ({"name": "v", "mountPath": "/x", "subPathExpr": "$(UP)"}, "must not contain"),
    ],
)
def test_mounts_that_are_refused(mount: Object, problem: str) -> None:
    of = pod(volumes=[{"name": "v", "emptyDir": {}}])
    with pytest.raises(ConfigProblem, match=problem):
        mount_plans(of, {"name": "web", "volumeMounts": [mount]}, {"UP": "a/../../b"})


def test_mounts() -> None:
    of = pod(volumes=[{"name": "v", "emptyDir": {}}])
    mount = {
        "name": "v",
        "mountPath": "/x",
        "subPathExpr": "logs/$(POD)",
        "readOnly": True,
        "mountPropagation": "HostToContainer",
    }
    (plan,) = mount_plans(of, {"name": "web", "volumeMounts": [mount]}, {"POD": "p"})
    assert (plan.sub_path, plan.mount.container_path, plan.mount.read_only) == ("logs/p", "/x", True)
    assert plan.mount.propagation == "HostToContainer"
