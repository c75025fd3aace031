"""Calls to a Docker engine: the SDK's, in a bounded pool of threads, and what streams, over connections of our own.

The SDK answers requests; what stays open (logs, events, waiting for an end) would hold a thread each and goes over
aiohttp; exec and attach are connections that Docker hands over (upgrade.py). Every call has a deadline; a socket
that is not there is RuntimeUnavailable.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import aiohttp
import docker
import docker.errors
import requests.exceptions
import urllib3.exceptions

from node_agent.runtime.errors import NotFound, RuntimeFault, RuntimeUnavailable
from node_agent.runtime.upgrade import Refused, Streams, open_upgraded

_T = TypeVar("_T")
_THREADS = 16
_SECONDS = 120
_API = "1.41"  # Docker 20.10: the oldest one with everything that is asked for here
_AWAY = (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, ConnectionError)


class CallFailed(RuntimeFault):
    """The engine refused; the caller says what that means."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Engine:
    """`endpoint`: unix:///var/run/docker.sock."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.socket = endpoint.removeprefix("unix://")
        self._pool: ThreadPoolExecutor | None = None
        self._api: Any = None
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Does not wait for the engine."""
        if self._api is None:
            self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="docker")
            self._api = docker.APIClient(self.endpoint, version=_API, timeout=_SECONDS, num_pools=_THREADS)
            connector = aiohttp.UnixConnector(path=self.socket, limit=0)
            self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None))

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None
        if self._api is not None:
            self._api.close()
            self._api = None
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    async def call(self, work: Callable[[Any], _T]) -> _T:
        """`work(api)` in a thread. Raises NotFound, RuntimeUnavailable, CallFailed."""
        await self.open()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, self._api)
        except docker.errors.NotFound as problem:
            raise NotFound(_said(problem)) from problem
        except docker.errors.APIError as problem:
            raise CallFailed(_said(problem), problem.status_code or 0) from problem
        except (docker.errors.DockerException, *_AWAY) as problem:
            raise RuntimeUnavailable(f"{self.endpoint} does not answer: {problem}") from problem

    async def follow(self, path: str, query: Mapping[str, str], method: str = "GET") -> AsyncIterator[bytes]:
        """The body of an answer that goes on, as it comes. Raises NotFound, RuntimeUnavailable, CallFailed."""
        await self.open()
        assert self._session is not None
        url = f"http://docker/v{_API}{path}"
        try:
            async with self._session.request(method, url, params=query) as answer:
                if answer.status == 404:
                    raise NotFound((await answer.text())[:500])
                if answer.status >= 400:
                    raise CallFailed((await answer.text())[:500], answer.status)
                async for data in answer.content.iter_any():
                    yield data
        except (aiohttp.ClientError, OSError) as problem:
            raise RuntimeUnavailable(f"{self.endpoint}: the answer broke off: {problem}") from problem

    async def documents(self, path: str, query: Mapping[str, str]) -> AsyncIterator[dict[str, Any]]:
        """JSON objects, one a line."""
        rest = b""
        async for data in self.follow(path, query):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                with contextlib.suppress(ValueError):
                    found = json.loads(line)
                    if isinstance(found, dict):
                        yield found

    async def hijack(self, path: str, body: Mapping[str, Any] | None = None) -> Streams:
        """POST, after which the connection is the stream. Raises NotFound, CallFailed, RuntimeUnavailable."""
        headers = {"Connection": "Upgrade", "Upgrade": "tcp", "Content-Type": "application/json"}
        data = json.dumps(body).encode() if body is not None else b""
        try:
            return await open_upgraded(f"unix:{self.socket}", f"/v{_API}{path}", headers, data)
        except Refused as problem:
            if problem.status == 404:
                raise NotFound(problem.message) from problem
            raise CallFailed(problem.message, problem.status) from problem


def _said(problem: Any) -> str:
    return str(problem.explanation or problem)
