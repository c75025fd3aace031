"""From what the agent asks for to what the shim is told: by value."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from node_agent.runtime.errors import CannotCreate
from node_agent.runtime.image_store.config import ImageConfig
from node_agent.runtime.process import capabilities, cgroups, plan, sandbox_files, users
from node_agent.runtime.process.abilities import Abilities, abilities
from node_agent.runtime.stored import container_config, sandbox_config
from node_agent.runtime.types import (
    ContainerConfig,
    Dns,
    Mount,
    PortMapping,
    Propagation,
    Resources,
    SandboxConfig,
    Security,
)

ROOT = Abilities(mounts=True, pids=True, overlay=True, network=True, shared=True, cgroup_namespace=True)
PLACES = plan.Places("/lower", "/up,per", "/wo:rk", "/target", "/sandbox", "/log")
SHARED = plan.Shared({"ipc": "/ns/ipc"})
IMAGE = ImageConfig(
    entrypoint=("/entry",), command=("arg",), env=(("A", "1"), ("B", "2")), working_dir="/w", user="alice"
)


def spec(config: ContainerConfig, image: ImageConfig = IMAGE, able: Abilities = ROOT, **shared: Any) -> dict[str, Any]:
    return plan.container_spec(config, image, PLACES, replace(SHARED, **shared), able, ["/cg"], "/oom")


def test_commands_and_arguments() -> None:
    """Kubernetes' table of command and args over ENTRYPOINT and CMD."""
    rows = {
        ((), ()): ["/entry", "arg"],
        (("c",), ()): ["c"],
        ((), ("a",)): ["/entry", "a"],
        (("c",), ("a",)): ["c", "a"],
    }
    for (command, args), expected in rows.items():
        assert plan.argv(ContainerConfig("n", "i", command=command, args=args), IMAGE) == expected
    with pytest.raises(CannotCreate, match="no command"):
        plan.argv(ContainerConfig("n", "i"), ImageConfig())


def test_environment_users_and_folder() -> None:
    made = spec(ContainerConfig("n", "i", env=(("B", "3"), ("C", "4"), ("C", "5")), tty=True))
    assert dict(made["env"]) == {"TERM": "xterm", "A": "1", "B": "3", "C": "5"}
    assert (made["cwd"], made["user"]["name"]) == ("/w", "alice")
    named = spec(ContainerConfig("n", "i", env=(("C", "4"),)), hostname="web-1")
    assert dict(named["env"]) == {"HOSTNAME": "web-1", "A": "1", "B": "2", "C": "4"}
    told = spec(ContainerConfig("n", "i", env=(("HOSTNAME", "mine"),)), hostname="web-1")
    assert dict(told["env"])["HOSTNAME"] == "mine"
    made = spec(ContainerConfig("n", "i", working_dir="/x", security=Security(user=7)))
    assert (made["cwd"], made["user"]["name"], made["user"]["uid"]) == ("/x", "", 7)


def test_the_overlay_survives_odd_paths() -> None:
    assert spec(ContainerConfig("n", "i"))["root"] == {
        "mode": "image",
        "target": "/target",
        "overlay": "lowerdir=/lower,upperdir=/up\\,per,workdir=/wo\\:rk",
    }


def test_outer_volumes_are_mounted_before_inner_ones() -> None:
    mounts = (Mount("/1", "/a/b/c"), Mount("/2", "/a", read_only=True), Mount("/3", "/etc/hosts"))
    steps = [step for step in spec(ContainerConfig("n", "i", mounts=mounts))["mounts"] if step["do"] == "bind"]
    assert [step["at"] for step in steps] == ["/etc/resolv.conf", "/etc/hostname", "/a", "/etc/hosts", "/a/b/c"]
    assert [step["readonly"] for step in steps if step["at"] == "/a"] == [True]


def test_namespaces() -> None:
    config = ContainerConfig("n", "i")
    assert spec(config)["namespaces"] == {"ipc": "/ns/ipc", "pid": "new", "cgroup": True, "user": False}
    assert spec(config, host_pid=True)["namespaces"]["pid"] == ""
    assert spec(config, namespaces={"pid": "/ns/pid"})["namespaces"]["pid"] == "/ns/pid"


def test_what_a_weaker_machine_does_instead() -> None:
    host = ImageConfig(command=("sh",), host="/")
    config = ContainerConfig("n", "host")
    bare = Abilities(degraded=("no namespaces",))
    assert spec(config, host, bare)["root"] == {"mode": "plain"}
    assert spec(config, host, bare)["namespaces"] == {}
    with pytest.raises(CannotCreate, match="no namespaces"):
        spec(config, IMAGE, bare)
    # What Kubernetes adds to every container must not keep it from running; what its author wants does.
    added = (Mount("/1", "/dev/termination-log"), Mount("/2", "/var/run/secrets/kubernetes.io/serviceaccount"))
    assert spec(replace(config, mounts=added), host, bare)["root"] == {"mode": "plain"}
    with pytest.raises(CannotCreate, match=r": /data$"):
        spec(replace(config, mounts=(*added, Mount("/1", "/data"))), host, bare)
    steps = spec(replace(config, mounts=(*added, Mount("/1", "/data"))), host, replace(ROOT, overlay=False))["mounts"]
    where = {step["at"]: step.get("optional", False) for step in steps if step.get("source") in ("/1", "/2")}
    assert where == {**dict.fromkeys((mount.container_path for mount in added), True), "/data": False}
    whole = spec(replace(config, mounts=added), host, ROOT)["mounts"]
    assert not [step for step in whole if step.get("source") in ("/1", "/2") and step.get("optional")]
    assert spec(config, host, replace(ROOT, overlay=False))["root"] == {"mode": "host"}
    with pytest.raises(CannotCreate, match="propagate"):
        spec(replace(config, mounts=(Mount("/1", "/d", propagation=Propagation.BIDIRECTIONAL),)))
    found = {
        "mounts": "",
        "pids": "",
        "overlay": "refused",
        "network": "not root",
        "shared": "not root",
        "cgroup_namespace": "",
    }
    able = abilities(found, root=False)
    assert (able.user, able.overlay, able.mounts) == (True, False, True)
    assert any(line.startswith("refused: each container gets a copy") for line in able.degraded)


def test_capabilities() -> None:
    default = capabilities.kept((), ())
    assert capabilities.NUMBERS["MKNOD"] not in default
    assert capabilities.NUMBERS["NET_BIND_SERVICE"] in default
    assert capabilities.kept((), ("ALL",)) == []
    assert capabilities.kept(("CAP_NET_ADMIN",), ("all",)) == [12]
    assert capabilities.kept(("ALL",), ("SYS_ADMIN",)) == [number for number in range(41) if number != 21]
    with pytest.raises(CannotCreate, match="unknown capability NONSENSE"):
        spec(ContainerConfig("n", "i", security=Security(add_capabilities=("NONSENSE",))))
    assert spec(ContainerConfig("n", "i", security=Security(privileged=True)))["caps"] is None


PASSWD = "root:x:0:0::/root:/bin/sh\n# no\nbroken:line\nalice:x:1001:1002::/home/alice:/bin/sh\n"
GROUP = "root:x:0:\nstaff:x:1002:\naudio:x:29:bob,alice\n"


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"name": ""}, (0, 0, [0], "/root")),
        ({"name": "alice"}, (1001, 1002, [29, 1002], "/home/alice")),
        ({"name": "alice:audio"}, (1001, 29, [29], "/home/alice")),
        ({"name": "1001"}, (1001, 1002, [29, 1002], "/home/alice")),
        ({"name": "5:6"}, (5, 6, [6], "/")),
        ({"uid": 7, "gid": 8, "groups": [9], "name": "alice"}, (7, 8, [8, 9], "/")),
        ({"uid": 1001}, (1001, 1002, [29, 1002], "/home/alice")),
    ],
)
def test_users(wanted: dict[str, object], expected: object) -> None:
    assert users.resolve(wanted, PASSWD, GROUP) == expected


@pytest.mark.parametrize("name", ["nobody", "alice:nothing", "-1", "4294967295", "٣"])
def test_users_that_are_not_there(name: str) -> None:
    with pytest.raises(users.NoSuchUser, match="unable to find"):
        users.resolve({"name": name}, PASSWD, GROUP)


def test_names_for_a_sandbox() -> None:
    config = SandboxConfig("p", "ns", "u", hosts=(("10.0.0.9", ("db", "db.local")),))
    text = sandbox_files.hosts(config, ("10.1.2.3",), "web-0")
    assert "10.1.2.3\tweb-0\n10.0.0.9\tdb db.local\n" in text
    assert sandbox_files.resolv_conf(Dns(), "nameserver 1.1.1.1\n") == "nameserver 1.1.1.1\n"
    assert sandbox_files.resolv_conf(Dns(("2.2.2.2",), ("a", "b")), "x") == "nameserver 2.2.2.2\nsearch a b\n"


def test_configurations_are_read_back_as_they_were() -> None:
    sandbox = SandboxConfig(
        "p",
        "ns",
        "u",
        dns=Dns(("1",), ("2",), ("3",)),
        hosts=(("4", ("5", "6")),),
        port_mappings=(PortMapping(80, 8080),),
        labels={"a": "b"},
        sysctls={"c": "d"},
        resources=Resources(memory=7),
    )
    assert sandbox_config(json.loads(json.dumps(asdict(sandbox)))) == sandbox
    container = ContainerConfig(
        "n",
        "i",
        command=("a",),
        env=(("A", "B"),),
        mounts=(Mount("/1", "/2", propagation=Propagation.HOST_TO_CONTAINER),),
        security=Security(user=1, supplemental_groups=(2,), drop_capabilities=("ALL",)),
        resources=Resources(cpu_quota=5),
    )
    assert container_config(json.loads(json.dumps(asdict(container)))) == container
    assert "B" not in repr(container)


def folders(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


LIMITS = Resources(cpu_shares=2048, cpu_quota=50_000, memory=1 << 20, pids=9)


def test_cgroups_of_version_1(tmp_path: Path) -> None:
    lines = [
        f"1 2 0:3 / {tmp_path}/{name} rw - cgroup cgroup rw,{name}" for name in ("memory", "cpu", "cpuacct", "pids")
    ]
    for line in lines:
        Path(line.split()[4]).mkdir()
    groups = cgroups.Cgroups(cgroups.find_layout("\n".join(lines)))
    groups.create("c", LIMITS)
    read = {path.name: path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert read == {
        "memory.limit_in_bytes": "1048576",
        "cpu.shares": "2048",
        "cpu.cfs_period_us": "100000",
        "cpu.cfs_quota_us": "50000",
        "pids.max": "9",
    }
    used = {"memory.usage_in_bytes": "100", "memory.stat": "total_inactive_file 30\ntotal_rss 20\n"}
    folders(tmp_path / "memory/fluyt/c", used)
    folders(tmp_path, {"cpuacct/fluyt/c/cpuacct.usage": "5", "pids/fluyt/c/pids.current": "2"})
    assert groups.usage("c") == cgroups.Usage(cpu=5, memory=100, working_set=70, rss=20, pids=2)
    assert groups.oom_file("c").endswith("memory/fluyt/c/memory.oom_control")
    assert groups.usage("other") is None


def test_cgroups_of_version_2(tmp_path: Path) -> None:
    control = {"cgroup.controllers": "cpu memory pids io", "cgroup.subtree_control": ""}
    folders(tmp_path, control)
    folders(tmp_path / "fluyt", {**control, "cgroup.subtree_control": "cpu memory"})
    layout = cgroups.find_layout(f"1 2 0:3 / {tmp_path} rw - cgroup2 cgroup2 rw")
    layout = replace(layout, controllers=frozenset({"cpu", "memory"}))
    groups = cgroups.Cgroups(layout)
    groups.create("c", LIMITS)
    group = tmp_path / "fluyt" / "c"
    read = {path.name: path.read_text() for path in group.iterdir()}
    assert read == {"memory.max": "1048576", "cpu.weight": "79", "cpu.max": "50000 100000"}
    folders(
        group, {"memory.current": "100", "memory.stat": "anon 20\ninactive_file 30\n", "cpu.stat": "usage_usec 7\n"}
    )
    assert groups.usage("c") == cgroups.Usage(cpu=7000, memory=100, working_set=70, rss=20)


def test_no_cgroups_at_all() -> None:
    layout = cgroups.find_layout("")
    assert "no limits" in layout.lacks[0]
    groups = cgroups.Cgroups(layout)
    groups.create("c", LIMITS)
    assert (groups.folders("c"), groups.oom_file("c"), groups.usage("c")) == ([], "", None)


def test_weights() -> None:
    assert [cgroups.weight(shares) for shares in (0, 2, 1024, 262144, 10**9)] == [39, 1, 39, 10000, 10000]
