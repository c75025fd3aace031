"""A client of a Service that never rests, and a look at pods that never rests: what they saw is judged at the end."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from whole_cluster import Object, WholeCluster, is_ready


class _Restless:
    """Calls a function again and again, in a thread of its own, while the block lasts."""

    def __init__(self, turn: Callable[[], None], pause: float) -> None:
        self._turn, self._pause = turn, pause
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._end.wait(self._pause):
            self._turn()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        self._thread.join(30)


class ServiceClient:
    """Requests to a Service at its cluster address, each on a connection of its own.

    answers: what was said, by text; refused: what was not.
    """

    def __init__(self, cluster: WholeCluster, service: str) -> None:
        self._address = cluster.get(f"/api/v1/namespaces/default/services/{service}")["spec"]["clusterIP"]
        self.answers: dict[str, int] = {}
        self.refused: list[str] = []
        self._thread = _Restless(self._ask, 0.02)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.stop()

    def _ask(self) -> None:
        connection = http.client.HTTPConnection(self._address, 80, timeout=10)
        try:
            connection.request("GET", "/")
            answer = connection.getresponse()
            text = answer.read().decode()
        except (OSError, http.client.HTTPException) as problem:
            self.refused.append(repr(problem))
            return
        finally:
            connection.close()
        self.answers[text] = self.answers.get(text, 0) + 1

    def versions(self) -> set[str]:
        """What the answers so far say of themselves; the count begins anew."""
        said, self.answers = self.answers, {}
        return {text.rpartition("version ")[2].strip() for text in said}


class PodWatch:
    """Snapshots of an app's pods, as often as the API answers: (name, ready) of each."""

    def __init__(self, cluster: WholeCluster, app: str) -> None:
        self._cluster, self._app = cluster, app
        self.seen: list[list[Object]] = []
        self._thread = _Restless(self._look, 0.05)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.stop()

    def _look(self) -> None:
        self.seen.append(self._cluster.pods(self._app))

    def fewest_ready(self) -> int:
        return min(sum(is_ready(pod) for pod in pods) for pods in self.seen)
