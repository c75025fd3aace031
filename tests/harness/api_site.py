"""An API server as users run it: a store member, certificates, `fluyt apiserver`, and a plain HTTPS client."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from control.pki.cluster import Server, ensure_cluster
from harness.binaries import Kind
from harness.cluster import Cluster, make_directory
from harness.ports import free_port
from harness.process import Process
from harness.real_store import store_kind
from harness.require import require
from harness.wait import wait_until

ADMIN, NOBODY = "admin-token", "nobody-token"
_TOKENS = f'{ADMIN},admin,u-admin,"system:masters"\n{NOBODY},nobody,u-nobody\n'


@dataclass
class Reply:
    """One answer. obj: the body as JSON, None when it is none."""

    code: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def obj(self) -> Any:
        return json.loads(self.body)

    @property
    def reason(self) -> str:
        return str(self.obj.get("reason", ""))


class Api:
    """One connection's worth of requests, as one user."""

    def __init__(self, port: int, ca: Path, token: str = ADMIN) -> None:
        self.port, self.ca, self.token = port, ca, token
        self._local = threading.local()
        self.context = ssl.create_default_context(cafile=str(ca))

    def connection(self, timeout: float = 30.0) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context, timeout=timeout)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
        **query: Any,
    ) -> Reply:
        """One request; dicts and lists go as JSON, bytes and str as they are."""
        data = json.dumps(body) if isinstance(body, dict | list) else body
        sent = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        if data is not None:
            sent["Content-Type"] = content_type
        target = path + (f"?{urlencode(query)}" if query else "")
        response = self._exchange(method, target, data, sent)
        return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def _exchange(self, method: str, target: str, data: Any, headers: dict[str, str]) -> http.client.HTTPResponse:
        """On the thread's own connection, which is opened again when the server has closed it."""
        kept: http.client.HTTPSConnection | None = getattr(self._local, "connection", None)
        if kept is not None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                kept.request(method, target, data, headers)
                return kept.getresponse()
            kept.close()
        fresh = self._local.connection = self.connection()
        fresh.request(method, target, data, headers)
        return fresh.getresponse()

    def get(self, path: str, **query: Any) -> Any:
        """The object or list; fails the test for anything but 200."""
        reply = self.ask("GET", path, **query)
        assert reply.code == 200, reply.body
        return reply.obj

    def create(self, path: str, obj: Any, **query: Any) -> Any:
        """The created object; fails the test for anything but 201."""
        reply = self.ask("POST", path, obj, **query)
        assert reply.code == 201, reply.body
        return reply.obj

    def patch(self, path: str, patch: Any, kind: str = "merge", **query: Any) -> Any:
        """The patched object; kind: merge, json, strategic."""
        words = {"json": "json-patch", "merge": "merge-patch", "strategic": "strategic-merge-patch"}
        reply = self.ask("PATCH", path, patch, content_type=f"application/{words[kind]}+json", **query)
        assert reply.code == 200, reply.body
        return reply.obj

    @contextlib.contextmanager
    def watch(self, path: str, timeout: float = 20.0, **query: Any) -> Iterator[Iterator[Any]]:
        """The events of a watch as they come."""
        with contextlib.closing(self.connection(timeout)) as connection:
            asked = urlencode({"watch": "1", **query})
            connection.request("GET", f"{path}?{asked}", headers={"Authorization": f"Bearer {self.token}"})
            response = connection.getresponse()
            assert response.status == 200, response.read()
            yield (json.loads(line) for line in response)

    def namespace(self, name: str) -> str:
        """A fresh namespace; its path. There is no controller here to make its service account."""
        self.create("/api/v1/namespaces", {"metadata": {"name": name}})
        self.create(f"/api/v1/namespaces/{name}/serviceaccounts", {"metadata": {"name": "default"}})
        return f"/api/v1/namespaces/{name}"


class Site:
    """A store of one member (ours or a real etcd) and API servers on it."""

    def __init__(self, kind: Kind | None = None, flags: Sequence[str] = (), members: int = 1) -> None:
        """kind: of the store; None: what FLUYT_TEST_STORE says."""
        kind = kind or store_kind()
        require(kind)
        self.folder = make_directory("apiserver")
        self.store = Cluster(kind, members, directory=self.folder / "store")
        self.flags = list(flags)
        self.servers: list[Process] = []
        self.ports: list[int] = []

    def __enter__(self) -> Site:
        try:
            self.store.start()
            (self.folder / "tokens.csv").write_text(_TOKENS)
            ensure_cluster(self.folder, Server("https://127.0.0.1:1"), datetime.now(UTC))
            self.add_server()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add_server(self, *flags: str, wait: bool = True) -> int:
        """One more API server; its index."""
        index, port = len(self.servers), free_port()
        self.ports.append(port)
        self.servers.append(Process(self.arguments(port, *flags), self.folder / f"api{index}.log"))
        if wait:
            self.wait_ready(index)
        return index

    def arguments(self, port: int, *flags: str) -> list[str]:
        pki = self.folder / "pki"
        pairs = {
            "--etcd-servers": ",".join(f"http://{endpoint}" for endpoint in self.store.endpoints),
            "--bind-address": "127.0.0.1",
            "--secure-port": str(port),
            "--tls-cert-file": str(pki / "apiserver.crt"),
            "--tls-private-key-file": str(pki / "apiserver.key"),
            "--client-ca-file": str(pki / "ca.crt"),
            "--kubelet-client-certificate": str(pki / "apiserver-kubelet-client.crt"),
            "--kubelet-client-key": str(pki / "apiserver-kubelet-client.key"),
            "--service-account-signing-key-file": str(pki / "sa.key"),
            "--token-auth-file": str(self.folder / "tokens.csv"),
        }
        return [require("fluyt"), "apiserver", *(w for pair in pairs.items() for w in pair), *self.flags, *flags]

    def wait_ready(self, index: int = 0) -> None:
        """Until /readyz says ok; RuntimeError with its log when the server ends instead."""

        def ready() -> bool:
            if not self.servers[index].running:
                raise RuntimeError(self.servers[index].output())
            with contextlib.suppress(OSError, http.client.HTTPException):
                return self.api(index).ask("GET", "/readyz").code == 200
            return False

        wait_until(ready, f"API server {index} to be ready")

    def api(self, index: int = 0, token: str = ADMIN) -> Api:
        """A client of one server."""
        return Api(self.ports[index], self.folder / "pki" / "ca.crt", token)

    def close(self) -> None:
        for server in self.servers:
            server.kill()
        self.store.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def config_map(name: str = "", **data: str) -> dict[str, Any]:
    """A ConfigMap to create."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def pod(name: str, **spec: Any) -> dict[str, Any]:
    """A pod with one container."""
    containers = [{"name": "main", "image": "app:1"}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": containers, **spec}}
