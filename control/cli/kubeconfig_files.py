"""Kubeconfig files of the user's own, which hold the logins of other clusters, too: they are not written over."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

from control.pki.kubeconfig import read_kubeconfig

# Of every admin.conf (control/pki/cluster.py).
ADMIN: Final = "kubernetes-admin"


def refuse_foreign(path: Path, urls: Collection[str], user: str, cure: str) -> None:
    """Raises ValueError, with that cure, if there is anything in the file but `user` of the cluster at these URLs."""
    if path.exists() and not _is_ours(path, urls, user):
        raise ValueError(f"{path} exists and is not this cluster's login of {user} alone; {cure}")


def _is_ours(path: Path, urls: Collection[str], user: str) -> bool:
    # What an editor or `mktemp` left empty is nobody's. Others than files (a pipe, /dev/stdout) cannot be replaced.
    if not path.is_file():
        return False
    if not path.stat().st_size:
        return True
    try:
        content = read_kubeconfig(path)
        servers = {entry["cluster"]["server"] for entry in content.get("clusters") or ()}
        users = {entry["name"] for entry in content["users"]}
    except (ValueError, KeyError, TypeError):
        return False
    return servers <= set(urls) and users <= {user}
