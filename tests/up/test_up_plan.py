"""What a cluster consists of: plans, their files, and the table of processes, by value."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from control.up import plan as plans
from control.up.children import Children, environment
from control.up.plan import Etcd, Plan, UpError, Wishes, decide
from control.up.ports import free_ports, is_free
from control.up.rows import table


def counting() -> object:
    numbers = itertools.count(1000)
    return lambda count: [next(numbers) for _ in range(count)]


def decided(present: Plan | None = None, **wishes: object) -> Plan:
    return decide(present, Wishes(**wishes), counting(), "token")  # type: ignore[arg-type]


def test_a_first_plan() -> None:
    plan = decided(masters=2, nodes=1)
    assert [m.name for m in plan.masters] == ["m1", "m2"]
    assert plan.store_urls == ["https://127.0.0.1:1000", "https://127.0.0.1:1005"]
    assert plan.api_urls == ["https://127.0.0.1:1002", "https://127.0.0.1:1007"]
    assert (plan.nodes[0].name, plan.nodes[0].port, plan.runtime) == ("n1", 1010, "process")
    ports = [*(port for m in plan.masters for port in (m.client, m.peer, m.api, m.controllers, m.scheduler)), 1010]
    assert len(set(ports)) == 11
    assert decided().node_count == 0


def test_no_two_parts_have_one_port() -> None:
    """What nothing listens on yet, or just now, is offered again."""
    plan: Plan | None = None
    for count in (1, 3):
        plan = decide(plan, Wishes(nodes=count), lambda number: list(range(1000, 1000 + number)), "token")
        assert len(plan.ports) == 5 + count


def test_a_plan_stays_but_for_what_is_asked(tmp_path: Path) -> None:
    plan = decided(masters=3, nodes=2, runtime="docker", endpoint="unix:///x")
    plans.write(tmp_path, plan)
    again = plans.read(tmp_path)
    assert again == plan
    assert decided(again) == plan
    more = decided(again, nodes=3)
    assert more.nodes[:2] == plan.nodes
    assert [n.name for n in more.nodes] == ["n1", "n2", "n3"]
    assert decided(more, nodes=1).nodes == plan.nodes[:1]
    fake = decided(plan, runtime="simulated", nodes=500)
    assert (fake.nodes, fake.simulated, fake.node_count) == ([], 500, 500)


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"masters": 1}, "holds a cluster of 3 masters"),
        ({"masters": 0}, "--masters must be between 1 and 9"),
        ({"nodes": -1}, "--nodes must not be negative"),
    ],
)
def test_what_cannot_be(wishes: dict[str, int], message: str) -> None:
    with pytest.raises(UpError, match=message):
        decided(decided(masters=3), **wishes)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"masters": [{"name": "m1"}]}'])
def test_a_file_that_is_no_plan(tmp_path: Path, text: str) -> None:
    (tmp_path / "cluster.json").write_text(text)
    with pytest.raises(UpError, match=r"cluster\.json"):
        plans.read(tmp_path)


def test_the_table(tmp_path: Path) -> None:
    rows = table(tmp_path, decided(masters=2, nodes=1, runtime="cri", endpoint="unix:///c"))
    assert [(row.name, row.stage) for row in rows] == [
        ("m1-store", 0),
        ("m2-store", 0),
        ("m1-apiserver", 1),
        ("m2-apiserver", 1),
        ("m1-controllers", 1),
        ("m1-scheduler", 1),
        ("m2-controllers", 1),
        ("m2-scheduler", 1),
        ("n1-agent", 2),
    ]
    found = {row.name: row.command for row in rows}
    assert f"--kubeconfig={tmp_path}/controllers.conf" in found["m1-controllers"]
    assert f"--kubeconfig={tmp_path}/m2/scheduler.conf" in found["m2-scheduler"]
    # Each master's own store member first.
    assert "--etcd-servers=https://127.0.0.1:1005,https://127.0.0.1:1000" in found["m2-apiserver"]
    assert "--initial-cluster=m1=https://127.0.0.1:1001,m2=https://127.0.0.1:1006" in found["m1-store"]
    assert {"--runtime=cri", "--container-runtime-endpoint=unix:///c"} <= set(found["n1-agent"])
    # Nodes share their disk with the user's own files and images.
    assert "--image-gc-high-threshold=100" in found["n1-agent"]
    assert [
        word for word in found["n1-agent"] if word.startswith("--eviction-hard=") and "imagefs.available<5%" in word
    ]
    assert not [word for row in rows for word in row.command if "token-auth-file" in word]
    (tmp_path / "tokens.csv").touch()
    again = {row.name: row.command for row in table(tmp_path, decided(nodes=7, runtime="simulated"))}
    assert f"--token-auth-file={tmp_path}/tokens.csv" in again["m1-apiserver"]
    assert {"--simulated-nodes=7", f"--kubeconfig={tmp_path}/admin.conf"} <= set(again["sim-agent"])


def test_a_store_that_is_not_ours(tmp_path: Path) -> None:
    etcd = Etcd(["http://10.0.0.1:2379", "http://10.0.0.2:2379"], ca="/ca.crt")
    plan = decided(masters=2, etcd=etcd)
    plans.write(tmp_path, plan)
    assert decided(plans.read(tmp_path)) == plan
    rows = table(tmp_path, plan)
    assert [row.name for row in rows if row.stage == 0] == []
    for row in rows:
        assert {"--etcd-servers=http://10.0.0.1:2379,http://10.0.0.2:2379", "--etcd-cafile=/ca.crt"} <= set(row.command)
        assert not [word for word in row.command if word.startswith("--etcd-certfile")]
    with pytest.raises(UpError, match="another store"):
        decided(plan, etcd=Etcd(["http://elsewhere"]))
    with pytest.raises(UpError, match="another store"):
        decided(decided(), etcd=etcd)


def test_flags_for_single_parts(tmp_path: Path) -> None:
    plan = decided(nodes=1, extra=("controllers.node-monitor-grace-period=5s", "agent.v=4", "agent.pod-network=host"))
    plans.write(tmp_path, plan)
    again = plans.read(tmp_path)
    assert again == plan
    found = {row.role: row.command for row in table(tmp_path, plan)}
    assert "--node-monitor-grace-period=5s" in found["controllers"]
    assert {"--v=4", "--pod-network=host"} <= set(found["agent"])
    assert "--pod-network=loopback" not in found["agent"]
    changed = decided(again, extra=("agent.v=", "agent.pod-network=loopback"))
    assert changed.extra == ["controllers.node-monitor-grace-period=5s", "agent.pod-network=loopback"]


@pytest.mark.parametrize("entry", ["x", "agent.v", "v=4", "kubelet.v=4", "agent.=4"])
def test_a_flag_for_nobody(entry: str) -> None:
    with pytest.raises(UpError, match=r"ROLE\.FLAG=VALUE"):
        decided(extra=(entry,))


def test_every_flag_of_the_table_exists(tmp_path: Path) -> None:
    import click

    from kvstore.cli.main import COMMANDS, cli

    (tmp_path / "tokens.csv").touch()
    bridged = decided(nodes=1, network="bridge", extra=("controllers.cluster-cidr=10.50.0.0/16",))
    for plan in (decided(nodes=1, endpoint="unix:///c"), decided(nodes=1, runtime="simulated"), bridged):
        for row in table(tmp_path, plan):
            if row.role not in COMMANDS:
                continue
            command = cli.get_command(click.Context(cli), row.role)
            assert command is not None
            command.make_context(row.role, list(row.command[1:]), auto_envvar_prefix=None)


def test_ports_are_free_and_distinct() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert all(is_free(port) for port in ports)


def test_children_do_not_inherit_what_would_be_flags() -> None:
    present = {"PATH": "/bin", "ETCD_NAME": "x", "FLUYT_AGENT_PORT": "1", "ETCDCTL_API": "3"}
    assert environment(present) == {"PATH": "/bin"}


def test_a_pid_of_somebody_else_does_not_count(tmp_path: Path) -> None:
    import os

    children = Children(tmp_path)
    assert children.pid("x") is None
    children.note("x", os.getpid())
    assert children.pid("x") == os.getpid()
    pid_file = tmp_path / "run" / "x.pid"
    pid_file.write_text(f"{os.getpid()} 1\n")
    assert children.pid("x") is None
    pid_file.write_text("nonsense")
    assert children.pid("x") is None


def test_ending_a_cluster_loads_none_of_what_it_takes_to_run_one() -> None:
    """`fluyt down` on a crowded machine spent more time on loading than on what it is for."""
    loaded = "import sys, control.up.cluster, control.up.sweep, node_agent.network.removal, node_agent.runtimes"
    heavy = "{'aiohttp', 'cryptography', 'grpc', 'google.protobuf', 'numpy', 'yaml', 'dnslib'}"
    done = subprocess.run(
        [sys.executable, "-c", f"{loaded}; print(*{heavy} & sys.modules.keys())"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == ""
