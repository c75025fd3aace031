"""The table of processes: one row each, in the order they are started; they are stopped from the last to the first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from control.up.places import SIMULATED, STORE_CA, STORE_CLIENT, STORE_SERVER, home
from control.up.plan import Master, Node, Plan

LOOPBACK = "127.0.0.1"
# A file of static tokens that the user may put into the folder.
TOKENS = "tokens.csv"
# Nodes share a disk with whatever else is on somebody's machine: the shares that an agent keeps free on a machine of
# its own (10 and 15 %) would leave every pod Pending on a well used laptop. Nor are other people's images removed.
_SHARED_DISK = {
    "eviction-hard": "memory.available<100Mi,nodefs.available<5%,nodefs.inodesFree<5%,imagefs.available<5%",
    "image-gc-high-threshold": "100",
}


@dataclass(frozen=True)
class Row:
    """name: of its log and pid files. command: a `fluyt` command with its flags. stage: 0 may start before the
    credentials of the API exist."""

    name: str
    command: tuple[str, ...]
    stage: int = 1

    @property
    def role(self) -> str:
        """store, apiserver, controllers, scheduler or agent."""
        return self.command[0]


def table(folder: Path, plan: Plan) -> list[Row]:
    """Every process of the cluster."""
    return [*_masters(folder, plan), *_nodes(folder, plan)]


def _masters(folder: Path, plan: Plan) -> Iterator[Row]:
    for master in plan.masters if plan.etcd is None else ():
        yield _store(folder, plan, master)
    for master in plan.masters:
        yield _apiserver(folder, plan, master)
    for number, master in enumerate(plan.masters):
        config = home(folder, plan, number)
        yield _brain("controllers", folder, plan, config / "controllers.conf", master.name, master.controllers)
        yield _brain("scheduler", folder, plan, config / "scheduler.conf", master.name, master.scheduler)


def _store(folder: Path, plan: Plan, master: Master) -> Row:
    client, peer = f"https://{LOOPBACK}:{master.client}", f"https://{LOOPBACK}:{master.peer}"
    flags = {
        "name": master.name,
        "data-dir": str(folder / master.name / "store"),
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": ",".join(f"{m.name}=https://{LOOPBACK}:{m.peer}" for m in plan.masters),
        "initial-cluster-token": plan.token,
        "cert-file": _crt(folder, STORE_SERVER),
        "key-file": _key(folder, STORE_SERVER),
        "trusted-ca-file": _crt(folder, STORE_CA),
        "client-cert-auth": "true",
        "peer-cert-file": _crt(folder, STORE_SERVER),
        "peer-key-file": _key(folder, STORE_SERVER),
        "peer-trusted-ca-file": _crt(folder, STORE_CA),
        "peer-client-cert-auth": "true",
        # Half of etcd's heartbeats: a leader that dies is noticed by its connections, and three stores share a machine.
        "heartbeat-interval": "200",
        "election-timeout": "1000",
        # What a Kubernetes API server asks its etcd for: five minutes of history.
        "auto-compaction-mode": "periodic",
        "auto-compaction-retention": "5m",
        "log-level": "warn",
    }
    return Row(f"{master.name}-store", ("store", *_flags(plan, "store", flags)), stage=0)


def _apiserver(folder: Path, plan: Plan, master: Master) -> Row:
    flags = {
        **_store_client(folder, plan, master),
        "bind-address": LOOPBACK,
        "advertise-address": LOOPBACK,
        "secure-port": str(master.api),
        "tls-cert-file": _crt(folder, "apiserver"),
        "tls-private-key-file": _key(folder, "apiserver"),
        "client-ca-file": _crt(folder, "ca"),
        "kubelet-client-certificate": _crt(folder, "apiserver-kubelet-client"),
        "kubelet-client-key": _key(folder, "apiserver-kubelet-client"),
        "kubelet-certificate-authority": _crt(folder, "ca"),
        "requestheader-client-ca-file": _crt(folder, "front-proxy-ca"),
        "service-account-key-file": str(folder / "pki" / "sa.pub"),
        "service-account-signing-key-file": _key(folder, "sa"),
        "service-cluster-ip-range": plan.services,
    }
    tokens = folder / TOKENS
    if tokens.exists():
        flags["token-auth-file"] = str(tokens)
    return Row(f"{master.name}-apiserver", ("apiserver", *_flags(plan, "apiserver", flags)))


def _brain(role: str, folder: Path, plan: Plan, config: Path, master: str, port: int) -> Row:
    """The controllers or the scheduler of one master; which of them acts, the store decides."""
    own = next(m for m in plan.masters if m.name == master)
    flags = {
        "kubeconfig": str(config),
        **_store_client(folder, plan, own),
        "bind-address": LOOPBACK,
        "secure-port": str(port),
    }
    if role == "controllers" and plan.pods:
        flags["cluster-cidr"] = plan.pods
    if role == "controllers":
        flags |= {"cluster-signing-cert-file": _crt(folder, "ca"), "cluster-signing-key-file": _key(folder, "ca")}
    return Row(f"{master}-{role}", (role, *_flags(plan, role, flags)))


def _nodes(folder: Path, plan: Plan) -> Iterator[Row]:
    for node in plan.nodes:
        yield _agent(folder, plan, node)
    if plan.simulated:
        # One process is all of them, so it has an administrator's rights.
        flags = {
            "kubeconfig": str(folder / "admin.conf"),
            "hostname-override": SIMULATED,
            "simulated-nodes": str(plan.simulated),
            "root-dir": str(folder / SIMULATED),
            "address": LOOPBACK,
            "node-ip": LOOPBACK,
            "port": "0",
            "tls-cert-file": _crt(folder, f"node-{SIMULATED}"),
            "tls-private-key-file": _key(folder, f"node-{SIMULATED}"),
            "client-ca-file": _crt(folder, "ca"),
        }
        yield Row(f"{SIMULATED}-agent", ("agent", *_flags(plan, "agent", flags)), stage=2)


def _agent(folder: Path, plan: Plan, node: Node) -> Row:
    flags = {
        "kubeconfig": str(folder / f"node-{node.name}.conf"),
        "hostname-override": node.name,
        "runtime": plan.runtime,
        "root-dir": str(folder / node.name),
        "node-ip": LOOPBACK,
        # On the machine's network pods of all nodes share it: each listens at an address of its own.
        "pod-network": "bridge" if plan.network == "bridge" else "loopback",
        "address": LOOPBACK,
        "port": str(node.port),
        "tls-cert-file": _crt(folder, f"node-{node.name}"),
        "tls-private-key-file": _key(folder, f"node-{node.name}"),
        "client-ca-file": _crt(folder, "ca"),
        **_SHARED_DISK,
    }
    if plan.endpoint:
        flags["container-runtime-endpoint"] = plan.endpoint
    return Row(f"{node.name}-agent", ("agent", *_flags(plan, "agent", flags)), stage=2)


def _own_first(plan: Plan, master: Master) -> list[str]:
    own = f"https://{LOOPBACK}:{master.client}"
    return [own, *(url for url in plan.store_urls if url != own)]


def _store_client(folder: Path, plan: Plan, master: Master) -> dict[str, str]:
    if plan.etcd is not None:
        of = plan.etcd
        flags = {"etcd-cafile": of.ca, "etcd-certfile": of.cert, "etcd-keyfile": of.key}
        return {"etcd-servers": ",".join(of.servers), **{name: value for name, value in flags.items() if value}}
    return {
        "etcd-servers": ",".join(_own_first(plan, master)),
        "etcd-cafile": _crt(folder, STORE_CA),
        "etcd-certfile": _crt(folder, STORE_CLIENT),
        "etcd-keyfile": _key(folder, STORE_CLIENT),
    }


def _flags(plan: Plan, role: str, flags: dict[str, str]) -> list[str]:
    # As one word each, as they are then seen in the list of processes.
    return [f"--{name}={value}" for name, value in {**flags, **plan.extra_flags(role)}.items()]


def _crt(folder: Path, name: str) -> str:
    return str(folder / "pki" / f"{name}.crt")


def _key(folder: Path, name: str) -> str:
    return str(folder / "pki" / f"{name}.key")
