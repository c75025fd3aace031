"""When is a cluster ready? Asked with the standard library's HTTP, which costs nothing to import."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import Any, Final
from urllib.parse import urlsplit

_TIMEOUT: Final = 2.0


class Probe:
    """Short questions to API servers, one connection each."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        """tls: whom to trust and who we are, as Config.ssl_context() has it."""
        self._tls = tls

    def serving(self, url: str) -> bool:
        """Whether this API server says that it is ready."""
        return self._get(url, "/readyz")[0] == 200

    def has(self, url: str, path: str) -> bool:
        """Whether the object at that path exists."""
        return self._get(url, path)[0] == 200

    def ready_nodes(self, url: str) -> set[str]:
        """The names of the nodes whose condition Ready is True."""
        status, body = self._get(url, "/api/v1/nodes")
        if status != 200:
            return set()
        items: list[dict[str, Any]] = json.loads(body).get("items") or []
        return {item["metadata"]["name"] for item in items if _is_ready(item)}

    def _get(self, url: str, path: str) -> tuple[int, bytes]:
        parts = urlsplit(url)
        connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=_TIMEOUT, context=self._tls)
        try:
            connection.request("GET", path, headers={"Accept": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()


def _is_ready(node: dict[str, Any]) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or []
    return any(entry.get("type") == "Ready" and entry.get("status") == "True" for entry in conditions)
