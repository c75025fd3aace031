"""Kubeconfig files with everything in them: kubectl, the client libraries and our own processes read the same ones.

Source: the kubeconfig v1 format (kubernetes.io/docs/reference/config-api/kubeconfig.v1).
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from control.pki.files import PRIVATE, replace


@dataclass(frozen=True, slots=True)
class Login:
    """Who the file's reader is: a client certificate with its key, or a bearer token. PEM."""

    certificate: bytes = b""
    key: bytes = b""
    token: str = ""


# The name of the extension with further servers: control/client goes on to them when the first does not answer.
SERVERS: Final = "fluyt.dev/servers"


def kubeconfig(
    server: str, authority: bytes, user: str, login: Login, *, cluster: str = "fluyt", others: Sequence[str] = ()
) -> dict[str, Any]:
    """The file's content. server: an https URL; authority: PEM of who signed its certificate.

    others: further API servers of the cluster. kubectl has no use for them; our own processes do.
    """
    context = f"{user}@{cluster}"
    described: dict[str, Any] = {"server": server, "certificate-authority-data": _text(authority)}
    if others:
        described["extensions"] = [{"name": SERVERS, "extension": {"servers": list(others)}}]
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": described}],
        "users": [{"name": user, "user": _credentials(login)}],
        "contexts": [{"name": context, "context": {"cluster": cluster, "user": user}}],
        "current-context": context,
        "preferences": {},
    }


def write_kubeconfig(path: Path, content: dict[str, Any]) -> None:
    """Over what is there, readable by the owner alone. OSErrors."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace(path, as_yaml(content).encode(), PRIVATE)


def as_yaml(content: dict[str, Any]) -> str:
    """In kubectl's own order of fields."""
    return str(yaml.safe_dump(content, sort_keys=False, width=1_000_000))


def read_kubeconfig(path: Path) -> dict[str, Any]:
    """OSError; ValueError with the file's name when it is no kubeconfig."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise ValueError(f"{path}: not a kubeconfig: {problem}") from None
    if not isinstance(content, dict) or not isinstance(content.get("users"), list):
        raise ValueError(f"{path}: not a kubeconfig: it has no list of users")
    return content


def client_certificate(content: dict[str, Any]) -> bytes:
    """The first user's certificate, PEM; b"" if there is none in the file."""
    for entry in content["users"]:
        data = ((entry or {}).get("user") or {}).get("client-certificate-data")
        return base64.b64decode(data) if data else b""
    return b""


def server_url(content: dict[str, Any]) -> str:
    """The first cluster's server; "" if there is none."""
    for entry in content.get("clusters") or ():
        return str(((entry or {}).get("cluster") or {}).get("server") or "")
    return ""


def other_servers(content: dict[str, Any]) -> tuple[str, ...]:
    """The further servers of the first cluster."""
    for entry in content.get("clusters") or ():
        for extension in ((entry or {}).get("cluster") or {}).get("extensions") or ():
            if extension.get("name") == SERVERS:
                return tuple(map(str, (extension.get("extension") or {}).get("servers") or ()))
    return ()


def _credentials(login: Login) -> dict[str, str]:
    if login.token:
        return {"token": login.token}
    return {"client-certificate-data": _text(login.certificate), "client-key-data": _text(login.key)}


def _text(pem: bytes) -> str:
    return base64.b64encode(pem).decode()
