"""The credentials of a cluster on one machine: one set of authorities, a folder of kubeconfigs for each master.

    FOLDER/pki/            as control/pki has it, and etcd/{ca,server}, apiserver-etcd-client as kubeadm names them
    FOLDER/admin.conf      for the user; names every API server
    FOLDER/MASTER/*.conf   for that master's own processes: its own API server first, the others behind it
    FOLDER/node-NAME.conf  for the nodes' agents

The store is reached over TLS with client certificates, even here: whoever may write to it owns the cluster, and any
user of the machine can connect to a port of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from ipaddress import ip_network
from pathlib import Path

from control.pki import cluster, files
from control.pki.renewal import AUTHORITY_LIFETIME, LEAF_LIFETIME, why_renew
from control.up.places import SIMULATED, STORE_CA, STORE_CLIENT, STORE_SERVER
from control.up.plan import Plan
from kvstore.pki.certificates import issue, make_authority

_HOSTS = ["localhost", "127.0.0.1", "::1"]


def ensure_store(folder: Path, now: datetime, hosts: Sequence[str] = ()) -> None:
    """What the store's members and their clients show each other. hosts: further names of this machine.

    OSErrors; ValueError names the file at fault.
    """
    pki = folder / "pki"
    with files.locked(pki):
        (pki / "etcd").mkdir(mode=0o700, exist_ok=True)
        if not files.certificate_path(pki, STORE_CA).exists():
            files.create_pair(pki, STORE_CA, make_authority("fluyt-etcd", now, AUTHORITY_LIFETIME))
        _leaf(pki, STORE_SERVER, "fluyt-etcd-server", [*_HOSTS, *hosts], now)
        _leaf(pki, STORE_CLIENT, "kube-apiserver-etcd-client", [], now)


def _leaf(pki: Path, name: str, common_name: str, hosts: Sequence[str], now: datetime) -> None:
    authority = files.load_pair(pki, STORE_CA)
    if files.certificate_path(pki, name).exists():
        old = files.load_pair(pki, name)
        if not why_renew(old.certificate, authority.certificate, hosts, now):
            return
    # Members are each other's clients, too.
    pair = issue(authority, common_name, hosts, now, LEAF_LIFETIME, server=bool(hosts), client=True)
    files.replace_pair(pki, name, pair)


def ensure_rest(folder: Path, plan: Plan, now: datetime) -> None:
    """All the others. Raises as ensure_store."""
    urls = plan.api_urls
    # Where pods find the API server.
    service = str(ip_network(plan.services)[1])
    cluster.ensure_cluster(folder, cluster.Server(urls[0], service_ip=service, others=tuple(urls[1:])), now)
    for number, master in enumerate(plan.masters[1:], start=1):
        home = folder / master.name
        home.mkdir(mode=0o700, exist_ok=True)
        if not (home / "pki").is_symlink():
            (home / "pki").symlink_to("../pki", target_is_directory=True)
        others = (*urls[number + 1 :], *urls[:number])
        cluster.ensure_cluster(home, cluster.Server(urls[number], service_ip=service, others=others), now)
    # Simulated nodes share a process, so its server has one certificate for all of them.
    for name in [*(node.name for node in plan.nodes), *([SIMULATED] if plan.simulated else [])]:
        cluster.ensure_node(folder, name, urls[0], ["127.0.0.1"], now, others=tuple(urls[1:]))
