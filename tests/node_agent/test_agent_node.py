"""The node as a whole: admission, thresholds, eviction, cleaning up, its status, flags: by value."""

from __future__ import annotations

from typing import Any

import pytest
from agent_values import NOW, pod, ran

from control.cli.agent import agent as agent_command
from control.cli.agent_settings import FlagError, settings_of
from node_agent.node.admission import admit, victims
from node_agent.node.affinity import matches_node
from node_agent.node.eviction import Usage, verdict, victim
from node_agent.node.facts import Machine, Pressure
from node_agent.node.garbage import ImageUse, dead_containers, images_to_remove, old_sandboxes
from node_agent.node.settings import NodeSettings
from node_agent.node.status import Situation, allocatable, differs, label_patch, new_node, node_status
from node_agent.node.thresholds import Threshold, crossed, parse_thresholds
from node_agent.pod.observed import Sandbox
from node_agent.runtime.types import FsUsage, Image
from node_agent.settings import AgentSettings

Object = dict[str, Any]
NODE = {"metadata": {"name": "n1", "labels": {"disk": "ssd", "size": "7"}}}
ROOM = {"cpu": "2", "memory": "4Gi", "pods": "3"}
MACHINE = Machine(cpu=4000, memory=8 << 30, disk=100 << 30, architecture="amd64")


def asks(uid: str = "u1", priority: int = 0, **requests: str) -> Object:
    of = pod({"name": "web", "resources": {"requests": requests}}, priority=priority)
    of["metadata"] |= {"uid": uid, "name": uid}
    return of


def reason(of: Object, *others: Object, pressures: frozenset[str] = frozenset()) -> str:
    found = admit(of, others, NODE, ROOM, pressures)
    return found.reason if found else ""


def test_resources_are_checked() -> None:
    assert reason(asks(cpu="2")) == ""
    assert reason(asks(cpu="2001m")) == "OutOfcpu"
    assert reason(asks(cpu="1500m"), asks("u2", cpu="501m")) == "OutOfcpu"
    assert reason(asks(memory="5Gi")) == "OutOfmemory"
    assert reason(asks(), asks("u2"), asks("u3"), asks("u4")) == "OutOfpods"
    assert reason(asks(**{"example.com/gpu": "1"})) == "OutOfexample.com/gpu"
    found = admit(asks(cpu="3"), [asks("u2", cpu="1")], NODE, ROOM, frozenset())
    assert found is not None
    assert found.message == (
        "Pod was rejected: Node didn't have enough resource: cpu, requested: 3000, used: 1000, capacity: 2000"
    )


def test_ports_and_selectors_are_checked() -> None:
    taken = pod({"name": "web", "ports": [{"containerPort": 80, "hostPort": 80}]})
    assert reason(taken, taken) == "NodePorts"
    elsewhere = pod({"name": "web", "ports": [{"containerPort": 80, "hostPort": 80, "hostIP": "10.0.0.9"}]})
    assert reason(elsewhere, taken) == "NodePorts"
    udp = pod({"name": "web", "ports": [{"containerPort": 80, "hostPort": 80, "protocol": "UDP"}]})
    assert reason(udp, taken) == ""
    assert reason(pod(nodeSelector={"disk": "hdd"})) == "NodeAffinity"


def test_a_pod_for_another_operating_system_is_refused() -> None:
    """Pod security asks less of such a pod, which must not run then."""
    found = admit(pod(os={"name": "windows"}), [], NODE, ROOM, frozenset())
    assert found is not None
    assert found.reason == "PodOSNotSupported"
    assert found.message == "Pod was rejected: Failed to admit pod as the OS field doesn't match node OS"
    assert reason(pod(os={"name": "linux"})) == reason(pod()) == ""


def test_pressure_refuses_who_would_be_evicted() -> None:
    memory = frozenset({"MemoryPressure"})
    assert reason(asks(), pressures=memory) == "Evicted"
    assert reason(asks(memory="1Mi"), pressures=memory) == ""
    assert reason(asks(memory="1Mi"), pressures=frozenset({"DiskPressure"})) == "Evicted"
    assert reason(asks(priority=2_000_000_000), pressures=memory) == ""


def test_a_critical_pod_displaces_the_least_important() -> None:
    critical = asks("c", 2_000_001_000, cpu="1")
    low, high = asks("low", 1, cpu="1"), asks("high", 5, cpu="1")
    assert [p["metadata"]["uid"] for p in victims(critical, [high, low], ROOM)] == ["low"]
    assert victims(asks("plain", cpu="1"), [high, low], ROOM) == []
    assert victims(asks("c", 2_000_001_000, cpu="9"), [high, low], ROOM) == []


@pytest.mark.parametrize(
    ("operator", "key", "values", "fits"),
    [
        ("In", "disk", ["ssd", "x"], True),
        ("NotIn", "disk", ["ssd"], False),
        ("NotIn", "none", ["ssd"], True),
        ("Exists", "disk", [], True),
        ("DoesNotExist", "disk", [], False),
        ("Gt", "size", ["6"], True),
        ("Lt", "size", ["6"], False),
        ("Gt", "disk", ["6"], False),
    ],
)
def test_node_affinity(operator: str, key: str, values: list[str], fits: bool) -> None:
    terms = [{"matchExpressions": [{"key": key, "operator": operator, "values": values}]}]
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}
    assert matches_node(pod(affinity=affinity), NODE) is fits


def test_terms_are_alternatives_and_an_empty_one_is_none() -> None:
    def fits(*terms: Object) -> bool:
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}
        return matches_node(pod(affinity={"nodeAffinity": required}), NODE)

    named = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}
    assert fits({}, named)
    assert not fits({})


# ---- thresholds and eviction ----


def test_thresholds_are_read() -> None:
    found = parse_thresholds("memory.available<100Mi, nodefs.available<10%", {"memory.available": 30})
    assert found == (Threshold("memory.available", 100 << 20, grace=30), Threshold("nodefs.available", percent=10))
    assert parse_thresholds("") == ()


@pytest.mark.parametrize("text", ["memory<1Mi", "memory.available>1Mi", "memory.available<x", "nodefs.available<110%"])
def test_thresholds_that_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="eviction threshold"):
        parse_thresholds(text)


def test_what_is_crossed() -> None:
    thresholds = parse_thresholds("memory.available<1Gi,nodefs.available<10%,pid.available<10")
    short = crossed(
        thresholds, Pressure(memory_available=1, memory_capacity=8 << 30, disk_available=5, disk_capacity=100)
    )
    assert [t.signal for t in short] == ["memory.available", "nodefs.available"]
    assert {t.condition for t in short} == {"MemoryPressure", "DiskPressure"}


def test_who_is_evicted() -> None:
    memory = Threshold("memory.available", 100 << 20)
    modest, greedy = asks("modest", memory="1Gi"), asks("greedy", memory="1Mi")
    important = asks("important", 100, memory="1Mi")
    usage = {"modest": Usage(900 << 20), "greedy": Usage(50 << 20), "important": Usage(800 << 20)}
    assert victim(memory, [modest, greedy, important], usage) is greedy
    assert victim(memory, [modest, important], usage) is important
    assert victim(memory, [asks("c", 2_000_000_000)], {}) is None
    why = verdict(memory, greedy, usage["greedy"], 50 << 20, 100 << 20)
    assert why.reason == "Evicted"
    assert why.message.startswith(
        "The node was low on resource: memory. Threshold quantity: 104857600, available: 51200Ki. "
    )
    assert "Container web was using 51200Ki, request is 1024Ki" in why.message


# ---- cleaning up ----


def test_dead_containers_beyond_what_is_kept() -> None:
    runs = tuple(ran("web", "exited", attempt=n, ago=100 + 10 * (5 - n)) for n in (5, 4, 3, 2))
    pods = {"u1": {"web": runs}}
    assert [c.attempt for c in dead_containers(pods, 1, -1, 0, NOW)] == [3, 2]
    assert [c.attempt for c in dead_containers(pods, 5, 1, 0, NOW)] == [3, 2]
    assert dead_containers(pods, 1, -1, 1000, NOW) == []
    assert dead_containers({"u1": {"web": runs[:1]}}, 0, 0, 0, NOW) == []


def test_old_sandboxes() -> None:
    boxes = tuple(Sandbox(id=f"s{n}", attempt=n, ready=n == 3) for n in (3, 2, 1))
    assert old_sandboxes(boxes, ["s2"]) == ["s1"]


def test_images_go_when_the_disk_is_full() -> None:
    images = [Image(f"i{n}", size=10) for n in range(4)] + [Image("pinned", size=99, pinned=True)]
    uses = {i.id: ImageUse(NOW - 1000, NOW - 10 * n) for n, i in enumerate(images)}

    def chosen(available: int, max_age: float = 0.0, used: set[str] | None = None) -> list[str]:
        disk = FsUsage("/", 0, 0, 100, available, 0, 0)
        return [i.id for i in images_to_remove(images, uses, used or set(), disk, 85, 80, 100, max_age, NOW)]

    assert chosen(50) == []
    assert chosen(10) == ["i3"]
    assert chosen(0) == ["i3", "i2"]
    assert chosen(0, used={"i3"}) == ["i2", "i1"]
    assert chosen(50, max_age=15) == ["i3", "i2"]
    young = {i.id: ImageUse(NOW, 0) for i in images}
    assert images_to_remove(images, young, set(), FsUsage("/", 0, 0, 100, 0, 0, 0), 85, 80, 100, 0, NOW) == []
    assert images_to_remove(images, uses, set(), FsUsage("/", 0, 0, 100, 0, 0, 0), 100, 80, 100, 0, NOW) == []


# ---- the Node ----


def test_the_node_object_and_its_status() -> None:
    settings = NodeSettings(
        name="n1",
        ips=("10.0.0.1",),
        labels={"a": "b"},
        taints=({"key": "k", "effect": "NoSchedule"},),
        reserved={"cpu": "500m", "memory": "1Gi"},
    )
    node = new_node(settings, MACHINE)
    assert node["metadata"]["labels"]["kubernetes.io/hostname"] == "n1"
    assert node["spec"]["taints"] == [{"key": "k", "effect": "NoSchedule"}]
    found = node_status(settings, MACHINE, Situation(runtime="docker://1"), {}, NOW)
    assert found["capacity"] == {"cpu": "4", "memory": "8388608Ki", "ephemeral-storage": "104857600Ki", "pods": "110"}
    assert found["allocatable"]["cpu"] == "3500m"
    assert found["allocatable"]["memory"] == f"{(7 << 20) - (100 << 10)}Ki"
    assert {c["type"]: c["status"] for c in found["conditions"]} == {
        "MemoryPressure": "False",
        "DiskPressure": "False",
        "PIDPressure": "False",
        "Ready": "True",
    }
    assert label_patch(node, settings, MACHINE) == {}
    assert label_patch({}, settings, MACHINE)["metadata"]["labels"]["a"] == "b"


def test_a_heartbeat_alone_is_no_change() -> None:
    settings = NodeSettings(name="n1", ips=("10.0.0.1",))
    first = node_status(settings, MACHINE, Situation(), {}, NOW)
    later = node_status(settings, MACHINE, Situation(), first, NOW + 60)
    assert not differs(first, later)
    ready = later["conditions"][-1]
    assert ready["lastHeartbeatTime"] != ready["lastTransitionTime"]
    sick = node_status(settings, MACHINE, Situation(faults=("container runtime is down",)), first, NOW + 60)
    assert differs(first, sick)
    assert sick["conditions"][-1]["message"] == "container runtime is down"


def test_capacity_may_be_overridden() -> None:
    settings = NodeSettings(name="n1", ips=(), capacity={"cpu": "64", "example.com/gpu": "2"}, max_pods=7)
    assert allocatable(settings, MACHINE)["cpu"] == "64"
    assert allocatable(settings, MACHINE)["example.com/gpu"] == "2"
    assert allocatable(settings, MACHINE)["pods"] == "7"


# ---- flags ----


def from_flags(*arguments: str) -> AgentSettings:
    context = agent_command.make_context("agent", list(arguments))
    return settings_of(context.params)


def test_flags() -> None:
    found = from_flags(
        "--hostname-override=N1",
        "--node-ip=10.0.0.1,fd00::1",
        "--node-labels=a=b,c=",
        "--register-with-taints=k=v:NoSchedule,only:NoExecute",
        "--eviction-soft=memory.available<1Gi",
        "--eviction-soft-grace-period=memory.available=1m30s",
        "--system-reserved=cpu=500m",
        "--kube-reserved=cpu=250m,memory=1Gi",
        "--container-runtime-endpoint=unix:///run/containerd/containerd.sock",
    )
    assert found.node.name == "n1"
    assert found.node.labels == {"a": "b", "c": ""}
    assert found.node.taints[0] == {"key": "k", "value": "v", "effect": "NoSchedule"}
    assert found.node.eviction_soft == (Threshold("memory.available", 1 << 30, grace=90.0),)
    assert found.node.reserved == {"cpu": "750m", "memory": "1Gi"}
    assert found.runtime == "cri"
    assert from_flags("--node-ip=::1", "--simulated-nodes=5").runtime == "simulated"


@pytest.mark.parametrize(
    ("flag", "problem"),
    [
        ("--node-ip=here", "is no IP address"),
        ("--register-with-taints=k=v:Sometimes", "effects are"),
        ("--node-labels=a", "no key=value"),
        ("--eviction-hard=memory.available<lots", "--eviction-hard"),
        ("--eviction-soft=memory.available<1Gi", "needs its time"),
        ("--runtime=podman", "none of process, docker"),
        ("--kubeconfig=/nowhere", "there is no file"),
        ("--tls-cert-file=/etc/hostname", "belong together"),
        ("--sync-frequency=10", "--sync-frequency"),
        ("--system-reserved=cpu=x", "--system-reserved"),
        ("--image-gc-low-threshold=90", "must not be above"),
    ],
)
def test_flags_that_are_refused(flag: str, problem: str) -> None:
    with pytest.raises(FlagError, match=problem):
        from_flags(*([] if flag.startswith("--node-ip") else ["--node-ip=127.0.0.1"]), flag)
