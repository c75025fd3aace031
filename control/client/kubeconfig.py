"""Kubeconfig files and the configuration inside a pod, read into a Config.

Several files (KUBECONFIG separated by ":") are merged as kubectl does: of each name, and of each setting, the first
one found counts. Relative paths are relative to their file. Exec and auth-provider plugins are refused by name.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from control.client.config import Config, Origin
from control.client.errors import ConfigError

# The extension of a cluster's entry with its further servers.
SERVERS = "fluyt.dev/servers"
_IN_POD = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_Entry = tuple[dict[str, Any], Path]


def load(path: str | Path | None = None, *, context: str = "", servers: Sequence[str] = ()) -> Config:
    """The configuration of a context (default: the current one).

    path None: the files of KUBECONFIG, else ~/.kube/config, else that of the pod we run in. servers: these instead
    of the one in the file. Raises ConfigError.
    """
    files = [Path(path)] if path else _default_files()
    if not any(file.exists() for file in files):
        if path:
            raise ConfigError(f"there is no kubeconfig at {path}")
        if os.environ.get("KUBERNETES_SERVICE_HOST"):
            return in_cluster()
        where = ":".join(map(str, files))
        raise ConfigError(f"no kubeconfig: {where} is not there; name one by --kubeconfig or KUBECONFIG")
    config = _Merged(files).config(context)
    named = [path for path in (config.ca, config.cert, config.key) if isinstance(path, Path)]
    again = partial(load, path, context=context, servers=servers)
    return replace(config, servers=tuple(servers) or config.servers, origin=Origin((*files, *named), again))


def in_cluster(folder: Path = _IN_POD) -> Config:
    """The configuration of a pod's service account. Raises ConfigError outside of a pod."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (folder / "token").exists():
        raise ConfigError("this is no pod: KUBERNETES_SERVICE_HOST or the service account's token is missing")
    shown = f"[{host}]" if ":" in host else host
    namespace = folder / "namespace"
    return Config(
        servers=(f"https://{shown}:{port}",),
        ca=folder / "ca.crt" if (folder / "ca.crt").exists() else None,
        token_file=folder / "token",
        namespace=namespace.read_text().strip() if namespace.exists() else "default",
    )


def _default_files() -> list[Path]:
    named = [Path(part) for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    return named or [Path.home() / ".kube" / "config"]


class _Merged:
    """The entries of several files, each with the folder its paths are relative to."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.current = ""
        self.sections: dict[str, dict[str, _Entry]] = {"clusters": {}, "users": {}, "contexts": {}}
        self.files = ":".join(map(str, files))
        for file in files:
            if file.exists():
                self._add(file)

    def _add(self, file: Path) -> None:
        try:
            content = yaml.load(file.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except (yaml.YAMLError, OSError, UnicodeDecodeError) as problem:
            raise ConfigError(f"{file} cannot be read as a kubeconfig: {' '.join(str(problem).split())}") from None
        content = {} if content is None else content
        if not isinstance(content, dict):
            raise ConfigError(f"{file} is no kubeconfig: it is not a mapping")
        self.current = self.current or str(content.get("current-context") or "")
        for section, entries in self.sections.items():
            for entry in content.get(section) or ():
                if not isinstance(entry, dict) or "name" not in entry:
                    raise ConfigError(f"{file}: an entry of {section} has no name")
                entries.setdefault(str(entry["name"]), (entry.get(section[:-1]) or {}, file.parent))

    def _entry(self, section: str, name: str, wanted_by: str) -> _Entry:
        found = self.sections[section].get(name)
        if found is None:
            known = ", ".join(sorted(self.sections[section])) or "none"
            raise ConfigError(f"{self.files}: {wanted_by} names {section[:-1]} {name!r}, which is not there ({known})")
        return found

    def config(self, context: str) -> Config:
        """The Config of a context. Raises ConfigError."""
        name = context or self.current
        if not name:
            raise ConfigError(f"{self.files} has no current-context; choose one by --context")
        wanted, _ = self._entry("contexts", name, "the request" if context else "current-context")
        cluster, cluster_folder = self._entry("clusters", str(wanted.get("cluster", "")), f"context {name!r}")
        if not cluster.get("server"):
            raise ConfigError(f"{self.files}: cluster {wanted['cluster']!r} names no server")
        config = Config(
            servers=_servers(cluster),
            ca=_pem(cluster, "certificate-authority", cluster_folder),
            server_name=str(cluster.get("tls-server-name") or ""),
            insecure=bool(cluster.get("insecure-skip-tls-verify")),
            namespace=str(wanted.get("namespace") or "default"),
        )
        return self._with_user(config, str(wanted.get("user") or ""), name)

    def _with_user(self, config: Config, name: str, context: str) -> Config:
        if not name:
            return config
        user, folder = self._entry("users", name, f"context {context!r}")
        for plugin in ("exec", "auth-provider"):
            if user.get(plugin):
                raise ConfigError(
                    f"{self.files}: user {name!r} uses {plugin}, which is not supported; use a token file"
                )
        token_file = user.get("tokenFile")
        return replace(
            config,
            cert=_pem(user, "client-certificate", folder),
            key=_pem(user, "client-key", folder),
            token=str(user.get("token") or ""),
            token_file=folder / str(token_file) if token_file else None,
            username=str(user.get("username") or ""),
            password=str(user.get("password") or ""),
            impersonate=str(user.get("as") or ""),
            impersonate_groups=tuple(user.get("as-groups") or ()),
        )


def _servers(cluster: dict[str, Any]) -> tuple[str, ...]:
    """The server, and those of our own extension, which control/pki writes for clusters of several masters."""
    urls = [str(cluster["server"])]
    for extension in cluster.get("extensions") or ():
        if isinstance(extension, dict) and extension.get("name") == SERVERS:
            urls += map(str, (extension.get("extension") or {}).get("servers") or ())
    return tuple(dict.fromkeys(url.rstrip("/") for url in urls))


def _pem(entry: dict[str, Any], name: str, folder: Path) -> bytes | Path | None:
    """Inline data wins over a file, as with kubectl."""
    if data := entry.get(f"{name}-data"):
        try:
            return base64.b64decode(str(data), validate=True)
        except binascii.Error as problem:
            raise ConfigError(f"{name}-data is no base64: {problem}") from None
    return folder / str(entry[name]) if entry.get(name) else None
