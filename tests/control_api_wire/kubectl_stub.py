"""A server that keeps what kubectl posts, as bytes, and describes itself by our own documents. Nothing is stored."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from control.api import protobuf
from control.api.catalogue import BUILTIN
from control.api.discovery import GROUP, Discovery
from control.api.documents import Document
from control.api.openapi import OpenApi
from control.api.openapi.gnostic import ACCEPTED

OPENAPI = OpenApi(BUILTIN, "v1.32.0")


@dataclass(frozen=True, slots=True)
class Body:
    """One posted body."""

    path: str
    content_type: str
    data: bytes


@dataclass(slots=True)
class KubectlStub:
    """The server, while entered. run() calls a kubectl against it; posted: the bodies so far; asked: all paths."""

    home: Path
    aggregated: bool = True
    posted: list[Body] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    _server: ThreadingHTTPServer | None = None

    def __enter__(self) -> KubectlStub:
        stub = self

        class Handler(_Handler):
            site = stub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    def run(self, kubectl: str, *arguments: str, stdin: str = "") -> str:
        """kubectl's output. Fails the test when it fails."""
        assert self._server is not None
        command = [kubectl, f"--server=http://127.0.0.1:{self._server.server_port}", *arguments]
        environment = {"HOME": str(self.home), "PATH": os.environ["PATH"], "KUBECONFIG": os.devnull}
        run = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=60, env=environment, check=False
        )
        assert run.returncode == 0, f"{command}: {run.stderr}"
        return run.stdout


class _Handler(BaseHTTPRequestHandler):
    site: KubectlStub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self.site.asked.append(self.path)
        document = self._document(path.strip("/"), self.headers.get("Accept", ""))
        if path == "/version":
            self._send(json.dumps({"major": "1", "minor": "32", "gitVersion": "v1.32.0"}).encode())
        elif document is not None:
            self._send(document.body, document.content_type, document.etag)
        else:
            self._send(json.dumps({"kind": "Status", "status": "Failure", "code": 404}).encode(), code=404)

    def do_POST(self) -> None:
        body = Body(self.path, self.headers["Content-Type"], self.rfile.read(int(self.headers["Content-Length"])))
        self.site.posted.append(body)
        value = protobuf.decode(body.data).object if body.data.startswith(protobuf.MAGIC) else json.loads(body.data)
        self._send(json.dumps(value).encode(), code=201)

    def _document(self, path: str, accept: str) -> Document | None:
        discovery = Discovery(BUILTIN, "127.0.0.1")
        if path in ("api", "apis"):
            if self.site.aggregated and f"g={GROUP};v=v2;" in accept:
                return discovery.aggregated(core=path == "api")
            return discovery.api if path == "api" else discovery.apis
        if path.startswith("openapi/v3/"):
            return OPENAPI.document(path.removeprefix("openapi/v3/"))
        if path == "openapi/v3":
            return OPENAPI.index if self.site.aggregated else None
        if path == "openapi/v2":
            return OPENAPI.v2_protobuf if any(name in accept for name in ACCEPTED) else OPENAPI.v2
        if path == "api/v1":
            return discovery.version("", "v1")
        group, _, version = path.removeprefix("apis/").rpartition("/")
        return discovery.version(group, version) if group else discovery.group(version)

    def _send(self, body: bytes, content_type: str = "application/json", etag: str = "", code: int = 200) -> None:
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if etag:
            self.send_header("ETag", etag)
        self.end_headers()
        self.wfile.write(body)
