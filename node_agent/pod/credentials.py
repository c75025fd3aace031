"""imagePullSecrets: which credentials may be shown to which registry. Pure.

Source: "Images" in the Kubernetes documentation (config.json: auths, globs, the longest match first).
"""

from __future__ import annotations

import base64
import fnmatch
import json
from typing import Any, Final

from node_agent.pod import spec
from node_agent.pod.env import entries
from node_agent.pod.fields import ConfigProblem
from node_agent.pod.needs import Sources
from node_agent.pod.spec import Object
from node_agent.runtime.types import Credentials

_DOCKER_HUB: Final = "docker.io"
_ALIASES: Final = {"index.docker.io": _DOCKER_HUB, "registry-1.docker.io": _DOCKER_HUB}


def credentials_for(image: str, pod: Object, sources: Sources) -> list[Credentials]:
    """Those that fit the image's registry, most special first. Secrets that are missing or damaged are left out."""
    wanted = _place(image)
    found: list[tuple[str, Credentials]] = []
    for reference in spec.spec(pod).get("imagePullSecrets") or []:
        secret = sources.find("secrets", str(reference.get("name", "")))
        for server, entry in _auths(secret).items() if secret else ():
            pattern = _pattern(server)
            if _fits(pattern, wanted):
                found.append((pattern, _credentials(server, entry)))
    return [credentials for _, credentials in sorted(found, key=lambda pair: len(pair[0]), reverse=True)]


def _place(image: str) -> str:
    """registry/path of an image's name, without tag and digest."""
    name = image.partition("@")[0]
    first, slash, rest = name.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        first, rest = _DOCKER_HUB, name
    return f"{first}/{rest.partition(':')[0]}"


def _pattern(server: str) -> str:
    """A key of auths, as "https://index.docker.io/v1/" or "*.example.com/team"."""
    bare = server.partition("://")[2] or server
    host, _, path = bare.partition("/")
    path = path.strip("/")
    return "/".join(part for part in (_ALIASES.get(host, host), "" if path in ("v1", "v2") else path) if part)


def _fits(pattern: str, wanted: str) -> bool:
    host, _, path = pattern.partition("/")
    wanted_host, _, wanted_path = wanted.partition("/")
    same_depth = host.count(".") == wanted_host.count(".")
    if not same_depth or not fnmatch.fnmatchcase(wanted_host, host):
        return False
    return not path or wanted_path == path or wanted_path.startswith(f"{path}/")


def _auths(secret: Object) -> dict[str, Any]:
    kind = secret.get("type")
    key = ".dockercfg" if kind == "kubernetes.io/dockercfg" else ".dockerconfigjson"
    try:
        text = entries(secret, "secrets").get(key, b"{}")
        parsed = json.loads(text)
    except (ConfigProblem, ValueError):
        return {}
    found = parsed if kind == "kubernetes.io/dockercfg" else parsed.get("auths") if isinstance(parsed, dict) else None
    return {server: entry for server, entry in (found or {}).items() if isinstance(entry, dict)}


def _credentials(server: str, entry: dict[str, Any]) -> Credentials:
    username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if entry.get("auth") and not username:
        try:
            username, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
        except ValueError:
            username = password = ""
    return Credentials(username, password, str(entry.get("identitytoken") or ""), "", server)
