"""Credentials for clusters on several machines: a folder for each machine, made where the authorities' keys are.

    FOLDER/authorities/pki/   ca, front-proxy-ca, sa, etcd/ca with their keys: stays where it is, kept safe
    FOLDER/NAME/              what master or node NAME needs, to be copied there as a whole: no authority's key in it,
                              but ca.key where a master is to sign the renewals of nodes

Made again, what is missing is made and what is old is renewed. Faults assumed: as control/pki/files.py says.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from control.pki import cluster, files
from control.up.credentials import ensure_store
from control.up.places import STORE_CA

AUTHORITIES: Final = "authorities"
_SIGNING: Final = (cluster.CA, cluster.FRONT_PROXY_CA, STORE_CA)


def make_master(
    folder: Path, name: str, urls: Sequence[str], hosts: Sequence[str], now: datetime, *, signing: bool = False
) -> Path:
    """The folder of a master. urls: of every API server, this one's first. hosts: its names and addresses.
    signing: it gets the key of the authority, with which its controllers sign.

    ValueError for names that cannot be, and as ensure_cluster; OSErrors.
    """
    target = _begin(folder, name, urls, now, (*_SIGNING, "sa"))
    try:
        ensure_store(target, now, hosts)
        server = cluster.Server(urls[0], hosts=tuple(hosts), others=tuple(urls[1:]))
        cluster.ensure_cluster(target, server, now)
    finally:
        _forget_keys(target, keep=(cluster.CA,) if signing else ())
    return target


def make_node(folder: Path, name: str, urls: Sequence[str], hosts: Sequence[str], now: datetime) -> Path:
    """The folder of a node, or of a master that is to be a node as well; as make_master."""
    # A master's own key to sign with is not ours to take away.
    signs = (folder / name / "admin.conf").exists() and files.key_path(folder / name / "pki", cluster.CA).exists()
    target = _begin(folder, name, urls, now, (cluster.CA,))
    try:
        cluster.ensure_node(target, name, urls[0], hosts, now, others=tuple(urls[1:]))
    finally:
        _forget_keys(target, keep=(cluster.CA,) if signs else ())
    return target


def _begin(folder: Path, name: str, urls: Sequence[str], now: datetime, wanted: Sequence[str]) -> Path:
    """The machine's folder, with what it takes to sign in it."""
    if not name or "/" in name or name in (AUTHORITIES, ".", ".."):
        raise ValueError(f"{name!r} cannot be the name of a machine")
    home, target = folder / AUTHORITIES, folder / name
    for each in (folder, home, target, target / "pki", target / "pki" / "etcd"):
        each.mkdir(mode=0o700, parents=True, exist_ok=True)
    ensure_store(home, now)
    cluster.ensure_cluster(home, cluster.Server(urls[0], others=tuple(urls[1:])), now)
    for pair in wanted:
        for suffix in (".crt", ".key", ".pub"):
            source = home / "pki" / f"{pair}{suffix}"
            if source.exists():
                mode = files.PRIVATE if suffix == ".key" else files.PUBLIC
                files.replace(target / "pki" / f"{pair}{suffix}", source.read_bytes(), mode)
    return target


def _forget_keys(target: Path, keep: Collection[str] = ()) -> None:
    for name in set(_SIGNING) - set(keep):
        files.key_path(target / "pki", name).unlink(missing_ok=True)
    if not any((target / "pki" / "etcd").iterdir()):
        shutil.rmtree(target / "pki" / "etcd")
