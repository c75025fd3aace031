"""A real API server on a real store, with all of its security, and clients with certificates or tokens."""

from __future__ import annotations

import http.client
import json
import ssl
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from harness.cluster import Cluster
from harness.ports import free_port
from harness.process import Process
from harness.real_store import store_kind
from harness.require import require
from harness.wait import wait_until

from control.pki.cluster import MASTERS, Server, Subject, ensure_cluster, user_login

Object = dict[str, Any]
ENCRYPTION = """
kind: EncryptionConfiguration
resources:
- resources: [secrets, "*.batch"]
  providers:
  - aesgcm: {keys: [{name: k1, secret: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=}]}
"""
POLICY = "kind: Policy\nrules: [{level: RequestResponse}]"


class LiveApi:
    """One store member, one server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.audit = folder / "audit.log"
        self._stack = ExitStack()
        self._clients: dict[tuple[str, ...], Client] = {}
        self.port = free_port()

    def __enter__(self) -> LiveApi:
        self.store = self._stack.enter_context(Cluster(store_kind(), members=1))
        ensure_cluster(self.folder, Server(f"https://127.0.0.1:{self.port}"), datetime.now(UTC))
        (self.folder / "encryption.yaml").write_text(ENCRYPTION)
        (self.folder / "policy.yaml").write_text(POLICY)
        (self.folder / "tokens.csv").write_text("tok-alice,alice,u1,dev\n")
        self.process = Process(self._arguments(), self.folder / "apiserver.log")
        self._stack.callback(self.process.stop)
        try:
            wait_until(self._ready, "the API server is ready", 30)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        for client in self._clients.values():
            client.close()
        self._stack.close()

    def _arguments(self) -> list[str]:
        pki = self.folder / "pki"
        flags = {
            "etcd-servers": self.store.members[0].endpoint,
            "bind-address": "127.0.0.1",
            "secure-port": str(self.port),
            "tls-cert-file": str(pki / "apiserver.crt"),
            "tls-private-key-file": str(pki / "apiserver.key"),
            "client-ca-file": str(pki / "ca.crt"),
            "service-account-key-file": str(pki / "sa.pub"),
            "service-account-signing-key-file": str(pki / "sa.key"),
            "token-auth-file": str(self.folder / "tokens.csv"),
            "encryption-provider-config": str(self.folder / "encryption.yaml"),
            "audit-log-path": str(self.audit),
            "audit-policy-file": str(self.folder / "policy.yaml"),
            "max-mutating-requests-inflight": "8",
        }
        return [require("fluyt"), "apiserver", *(f"--{name}={value}" for name, value in flags.items())]

    def _ready(self) -> bool:
        if not self.process.running:
            raise AssertionError(self.process.output()[-3000:])
        try:
            return self.anonymous.get("/readyz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def client(self, user: str = "", *groups: str, token: str = "") -> Client:
        """A client with a certificate for that user, or with a token, or with nothing."""
        key = (user, *groups, token)
        if key not in self._clients:
            self._clients[key] = Client(self.port, self.context(user, *groups), token)
        return self._clients[key]

    def context(self, user: str = "", *groups: str) -> ssl.SSLContext:
        """For connections of that user; of nobody without one."""
        context = ssl.create_default_context(cafile=self.folder / "pki" / "ca.crt")
        if user:
            self._login(context, user, groups)
        return context

    def _login(self, context: ssl.SSLContext, user: str, groups: tuple[str, ...]) -> None:
        login = user_login(self.folder / "pki", Subject(user, groups), datetime.now(UTC))
        path = self.folder / "login.pem"
        path.write_bytes(login.certificate + login.key)
        context.load_cert_chain(path)
        path.unlink()

    @property
    def anonymous(self) -> Client:
        return self.client()

    @property
    def admin(self) -> Client:
        return self.client("admin", MASTERS)

    def node(self, name: str) -> Client:
        return self.client(f"system:node:{name}", "system:nodes")

    def namespace(self, name: str, **labels: str) -> str:
        """A new namespace with its default service account."""
        metadata = {"name": name, "labels": {key.replace("__", "/").replace("_", "-"): v for key, v in labels.items()}}
        self.admin.post("/api/v1/namespaces", {"metadata": metadata})
        self.admin.post(f"/api/v1/namespaces/{name}/serviceaccounts", {"metadata": {"name": "default"}})
        return name

    def admin_kubeconfig(self) -> Object:
        return yaml.safe_load((self.folder / "admin.conf").read_text())  # type: ignore[no-any-return]


class Client:
    """Speaks JSON over one connection."""

    def __init__(self, port: int, context: ssl.SSLContext, token: str = "") -> None:
        self._connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=20)
        self._token = token
        self.headers: dict[str, str] = {}

    def call(self, method: str, path: str, body: Object | None = None, **headers: str) -> tuple[int, Object]:
        """(status code, the answer); an answer that is no JSON as {"text": …}."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent.setdefault("content-type", "application/json")
        if self._token:
            sent["authorization"] = f"Bearer {self._token}"
        try:
            self._connection.request(method, path, json.dumps(body) if body is not None else None, sent)
            response = self._connection.getresponse()
        except BaseException:
            self._connection.close()
            raise
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        found = response.read()
        try:
            document = json.loads(found)
        except ValueError:
            document = {"text": found.decode()}
        return response.status, document

    def get(self, path: str, **headers: str) -> tuple[int, Object]:
        return self.call("GET", path, **headers)

    def post(self, path: str, body: Object, *, code: int = 201, **headers: str) -> Object:
        """The answer of a create, which must have that code."""
        found, answer = self.call("POST", path, body, **headers)
        assert found == code, answer
        return answer

    def delete(self, path: str) -> tuple[int, Object]:
        return self.call("DELETE", path)

    def close(self) -> None:
        self._connection.close()
