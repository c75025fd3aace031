"""When is a cluster ready? Asked with the standard library's HTTP, which costs nothing to import."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

_TIMEOUT: Final = 2.0
_POLL: Final = 0.02
# Times that a question took until it is asked again: who lists a thousand nodes keeps the server from them.
_PAUSE_FACTOR: Final = 4.0


def come(
    missing: Callable[[], int],
    check: Callable[[], None],
    patience: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Ask again and again until nothing is missing: True. False once `patience` seconds have brought nothing more.

    check(): called after each answer, raises what ends the waiting.
    """
    fewest: int | None = None
    deadline = 0.0
    while True:
        began = clock()
        left = missing()
        now = clock()
        if not left:
            return True
        check()
        if fewest is None or left < fewest:
            fewest, deadline = left, now + patience
        elif now > deadline:
            return False
        sleep(max(_POLL, (now - began) * _PAUSE_FACTOR))


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

    def ready_nodes(self, url: str, since: Callable[[str], str] = lambda name: "") -> set[str]:
        """The names of the nodes whose condition Ready is True, by their own word since that time.

        since: name → RFC 3339 in whole seconds; what a node said before it was stopped says nothing of it now.
        """
        status, body = self._get(url, "/api/v1/nodes")
        if status != 200:
            return set()
        items: list[dict[str, Any]] = json.loads(body).get("items") or []
        return {item["metadata"]["name"] for item in items if is_ready(item, since(item["metadata"]["name"]))}

    def pressed_nodes(self, url: str) -> dict[str, list[str]]:
        """Node → conditions for which it takes no new pods, DiskPressure say; only nodes that have any."""
        status, body = self._get(url, "/api/v1/nodes")
        items: list[dict[str, Any]] = json.loads(body).get("items") or [] if status == 200 else []
        found = {item["metadata"]["name"]: pressures(item) for item in items}
        return {name: kinds for name, kinds in found.items() if kinds}

    def delete(self, url: str, path: str) -> bool:
        """Whether the object at that path is gone, or going."""
        return self._ask("DELETE", url, path)[0] in (200, 202, 404)

    def _get(self, url: str, path: str) -> tuple[int, bytes]:
        return self._ask("GET", url, path)

    def _ask(self, method: str, url: str, path: str) -> tuple[int, bytes]:
        parts = urlsplit(url)
        connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=_TIMEOUT, context=self._tls)
        try:
            connection.request(method, path, headers={"Accept": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()


def is_ready(node: dict[str, Any], since: str) -> bool:
    """Whether the node says so, and said it at that time or later."""
    conditions = (node.get("status") or {}).get("conditions") or []
    ready = [entry for entry in conditions if entry.get("type") == "Ready" and entry.get("status") == "True"]
    return any(str(entry.get("lastHeartbeatTime", "")) >= since for entry in ready)


def pressures(node: dict[str, Any]) -> list[str]:
    """The types of its conditions that say it runs short of something."""
    conditions = (node.get("status") or {}).get("conditions") or []
    kinds = [str(entry["type"]) for entry in conditions if entry.get("status") == "True"]
    return [kind for kind in kinds if kind.endswith("Pressure")]
