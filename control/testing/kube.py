"""The API server behind the fixture kube_api: `fluyt up` as a child process, and namespaces for tests."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import secrets
import ssl
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import yaml

from control.testing.child import Child

_START_SECONDS: Final = 60.0
_POLL: Final = 0.02


class KubeApi:
    """A Kubernetes API server that lives as long as the block.

    url: "https://127.0.0.1:port". kubeconfig: of an administrator. ca: the authority's certificate, PEM.
    token: an administrator's bearer token.
    """

    def __init__(self, folder: Path, flags: Sequence[str]) -> None:
        """flags: of `fluyt up`. RuntimeError, with its last words, when it does not come up."""
        self._folder = folder
        self.kubeconfig = folder / "admin.conf"
        self.ca = folder / "pki" / "ca.crt"
        self.token = secrets.token_urlsafe(32)
        tokens = folder / "tokens.csv"
        tokens.touch(0o600)
        tokens.write_text(f'{self.token},fluyt-test,fluyt-test,"system:masters"\n')
        self._child = Child(["up", *flags, "--data-dir", str(folder), "--stop-with-stdin"], folder / "up.log")
        try:
            self._wait()
            self.url = str(yaml.safe_load(self.kubeconfig.read_text())["clusters"][0]["cluster"]["server"])
        except BaseException:
            self._child.stop()
            raise

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        # A line's beginning: a port that is "already in use" is no such word.
        while not re.search("^ready in", self._child.log.read_text(), re.MULTILINE):
            if not self._child.running or time.monotonic() > deadline:
                raise RuntimeError(f"fluyt up does not come up:\n{self._child.last_words()}")
            time.sleep(_POLL)

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """One request as the administrator: (status, the answer's JSON)."""
        parts = urlsplit(self.url)
        tls = ssl.create_default_context(cafile=str(self.ca))
        connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, context=tls, timeout=30)
        try:
            headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        finally:
            connection.close()

    def create_namespace(self, prefix: str = "test-") -> str:
        """The name of a new namespace."""
        name = prefix + base64.b32encode(os.urandom(5)).decode().lower()
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        status, answer = self.request("POST", "/api/v1/namespaces", body)
        if status != 201:
            raise RuntimeError(f"no namespace could be made: {answer}")
        return name

    def delete_namespace(self, name: str) -> None:
        """Begin to delete a namespace; its contents go after it in the background."""
        self.request("DELETE", f"/api/v1/namespaces/{name}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.stop()
