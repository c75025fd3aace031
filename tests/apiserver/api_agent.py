"""A stand-in for a node agent: HTTPS with the API server's client certificate, logs, an echo for upgrades, figures."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from control.pki.cluster import ensure_node


class Agent(http.server.ThreadingHTTPServer):
    """requests: what was asked for, (path, headers)."""

    daemon_threads = True

    def __init__(self, summary: dict[str, Any]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.summary = summary
        self.more = threading.Event()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Agent
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
        if self.headers.get("Upgrade"):
            self._echo()
        elif self.path.startswith("/containerLogs/default/p/main"):
            self._log()
        elif self.path == "/stats/summary":
            self._send(200, json.dumps(self.server.summary).encode())
        else:
            self._send(404, b"no such thing here")

    do_POST = do_GET

    def _send(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _log(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._chunk(b"one\n")
        if "follow=true" in self.path:
            self.server.more.wait(10)
        self._chunk(b"two\n")
        self._chunk(b"")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.flush()

    def _echo(self) -> None:
        """Switch, then give back every byte doubled, until the other side ends."""
        self.send_response(101)
        for name in ("Upgrade", "Sec-WebSocket-Protocol"):
            if self.headers.get(name):
                self.send_header(name, self.headers[name])
        self.send_header("Connection", "Upgrade")
        self.end_headers()
        self.wfile.flush()
        while data := self.connection.recv(65536):
            self.wfile.write(data * 2)
            self.wfile.flush()
            if data.endswith(b"bye"):
                break
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@contextmanager
def agent(folder: Path, name: str, summary: dict[str, Any]) -> Iterator[Agent]:
    """An agent that serves the node of that name for the length of a block."""
    ensure_node(folder, name, "https://127.0.0.1:1", ["127.0.0.1"], datetime.now(UTC))
    pki = folder / "pki"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / f"node-{name}.crt", pki / f"node-{name}.key")
    context.load_verify_locations(pki / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    with Agent(summary) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.more.set()
            server.shutdown()
            thread.join(5)
