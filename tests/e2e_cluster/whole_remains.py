"""What must not be left of a cluster: processes, mounts, cgroups, interfaces, tables, locks; and what its containers
really are meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from harness.wait import wait_until

from node_agent.network import machine_lock
from node_agent.network.pods.commands import veth_of
from node_agent.network.pods.pod_table import PREFIX
from node_agent.network.proxy.leftovers import INTERFACE_PREFIX
from node_agent.network.proxy.nft_table import table_name
from node_agent.network.settings import bridge_name, cluster_id

if TYPE_CHECKING:
    from whole_cluster import Object, WholeCluster


def nothing_is_left(cluster: WholeCluster) -> None:
    """After `fluyt down`."""
    folder = cluster.folder
    wait_until(lambda: not processes_of(folder), f"the end of every process of {folder}")
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if f" {folder}" in line]
    assert mounts == []
    assert cgroups_of(cluster) == set()
    assert [name for name in os.listdir("/sys/class/net") if name in links_of(cluster)] == []
    if shutil.which("nft") and os.geteuid() == 0:
        said = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True, timeout=20).stdout
        assert [name for name in tables_of(cluster) if name in said.split()] == []
    assert list(machine_lock.folder().glob(f"proxy-*-{identity_of(folder)}.lock")) == []


def identity_of(folder: Path) -> str:
    """What tells the cluster from others on the machine."""
    authority = folder / "pki" / "ca.crt"
    return cluster_id(authority.read_bytes(), ()) if authority.exists() else "none"


def links_of(cluster: WholeCluster) -> set[str]:
    """Interfaces that the cluster may have had: of Services, bridges, and the nodes' ends of pods' pairs."""
    bridges = {bridge_name(str(cluster.folder / node), node) for node in cluster.nodes}
    return {f"{INTERFACE_PREFIX}{identity_of(cluster.folder)}", *bridges, *map(veth_of, cluster.known)}


def tables_of(cluster: WholeCluster) -> list[str]:
    pods = [f"{PREFIX}-{bridge_name(str(cluster.folder / node), node)}" for node in cluster.nodes]
    return [table_name(identity_of(cluster.folder)).split()[1], *pods]


def processes_of(folder: Path) -> list[str]:
    """Command lines that name the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any(f"{folder}/" in word for word in words):
            found.append(" ".join(words))
    return found


def desired_is_actual(cluster: WholeCluster) -> None:
    """The containers that run are those that the API says run, and nothing on the machine is of others; every object's
    owner is there.
    """

    cluster.note()

    def same() -> bool:
        pods = cluster.list("pods")
        wanted = {identity for pod in pods for identity in running(pod)}
        settled = not any("deletionTimestamp" in pod["metadata"] for pod in pods)
        return settled and wanted == cluster.engine.running(cluster.folder) and not of_others(cluster, wanted, pods)

    cluster.wait(same, "desired to be actual")
    objects = [each for kind in ("deployments", "replicasets", "jobs", "pods") for each in cluster.list(kind)]
    known = {each["metadata"]["uid"] for each in objects}
    for each in objects:
        for owner in each["metadata"].get("ownerReferences") or []:
            if owner["kind"] in ("Deployment", "ReplicaSet", "Job"):
                assert owner["uid"] in known, f"{each['metadata']['name']} is an orphan"


def cgroups_of(cluster: WholeCluster) -> set[str]:
    """Containers that there were or are, of which a cgroup is there."""
    return {path.name for path in Path("/sys/fs/cgroup").glob("**/fluyt/*/")} & cluster.known


def of_others(cluster: WholeCluster, containers: set[str], pods: list[Object]) -> list[str]:
    """cgroups, volumes, sandboxes and mounts that belong to none of these; volumes' folders are named by pods' uids."""
    uids = {pod["metadata"]["uid"] for pod in pods}
    sandboxes = sandboxes_of(cluster.folder)
    volumes = [str(path) for path in cluster.folder.glob("n*/pods/*") if path.name not in uids]
    strangers = [sandbox for sandbox, uid in sandboxes.items() if uid not in uids]
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    known = (*uids, *containers, *sandboxes)
    own = [place for place in mounts if place.startswith(f"{cluster.folder}/")]
    strange = [place for place in own if not any(each in place for each in known)]
    return [*(cgroups_of(cluster) - containers), *volumes, *strangers, *strange]


def sandboxes_of(folder: Path) -> dict[str, str]:
    """Sandbox → uid of its pod, of the process runtime."""
    found = {}
    for path in folder.glob("n*/runtime/sandboxes/*/record.json"):
        # It may go, or be written, at this moment.
        with contextlib.suppress(OSError, ValueError):
            found[path.parent.name] = str(json.loads(path.read_text())["config"]["uid"])
    return found


def running(pod: dict[str, object]) -> list[str]:
    """The ids of the containers that a pod's status says run."""
    statuses = pod["status"].get("containerStatuses") or []  # type: ignore[attr-defined]
    return [entry["containerID"].partition("://")[2] for entry in statuses if "running" in entry["state"]]


def shims(folder: Path) -> set[str]:
    """The ids of the containers whose shims run, of the process runtime."""
    named = processes_of(folder)
    paths = folder.glob("n*/runtime/containers/*")
    return {path.name for path in paths if any(str(path) in line for line in named)}
