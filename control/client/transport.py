"""HTTP to the API servers: one pool of connections, several servers, repeats only where they do no harm.

Invariants: a request that may change something is sent again only if it certainly was not applied: no connection came
about, or the server refused it with 429 or 503 and Retry-After. Reads are repeated, on the next server, as long as
the patience of the configuration lasts. Faults assumed: servers die, hang, and are replaced, at any byte.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import aiohttp

from control.client.bodies import refusal
from control.client.config import Config
from control.client.credentials import Credentials
from control.client.errors import Unreachable
from control.client.renewal import Renewal
from kvstore.backoff import delays

# Requests at once; watches and logs are not counted.
_AT_ONCE: Final = 64
# Below the server's, so that a connection is not closed there while a request goes out here.
_IDLE_CONNECTION: Final = 30.0
_LATER: Final = frozenset({429, 503})
_GATEWAY: Final = frozenset({502, 503, 504})


@dataclass(frozen=True, slots=True)
class Request:
    """repeatable: sending it twice does no harm. patient: wait and go on when the server says "later"."""

    method: str
    path: str
    query: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    repeatable: bool = False
    patient: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """Of any status."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _NotSent(Exception):
    """No connection came about."""


class _NoAnswer(Exception):
    """It was sent, wholly or in part, and not answered."""


class Transport:
    """Used inside one event loop; connects when first used."""

    def __init__(self, config: Config) -> None:
        """Raises ConfigError for certificates that cannot be used."""
        self.config = config
        self._credentials = Credentials(config)
        self._renewal = Renewal(config)
        self._tls = config.ssl_context()
        self._session: aiohttp.ClientSession | None = None
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._current = 0

    def use(self, config: Config) -> None:
        """Show the credentials of another configuration, from the next connection on. Raises ConfigError."""
        self._tls = config.ssl_context()
        fields = ("ca", "cert", "key", "token", "token_file", "username", "password")
        self.config = replace(self.config, **{name: getattr(config, name) for name in fields})
        self._credentials = Credentials(self.config)

    def _renew(self) -> None:
        """Take up what was renewed in the files. Connections that are open end as they would."""
        newer = self._renewal.newer()
        if newer is not None:
            self.use(newer)

    @property
    def server(self) -> str:
        """The server that is asked first now."""
        return self.config.servers[self._current]

    def move_on(self, server: str) -> None:
        """Ask the next server first, if `server` is the present one."""
        if server == self.server:
            self._current = (self._current + 1) % len(self.config.servers)

    async def call(self, request: Request) -> Answer:
        """The answer, of whatever status. Raises Unreachable."""
        trial = _Trial(self.config)
        while True:
            server = self.server
            try:
                answer = await self._attempt(server, request)
            except (_NotSent, _NoAnswer) as trouble:
                trial.failed(server, trouble, request)
            else:
                wait = trial.wait(answer, request)
                if wait is None:
                    return answer
                await asyncio.sleep(wait)
            self.move_on(server)
            await trial.pause()

    async def _attempt(self, server: str, request: Request) -> Answer:
        async with self._gate:
            response = await self._send(server, request, self.config.attempt_timeout)
            async with response:
                try:
                    body = await response.read()
                except (aiohttp.ClientError, TimeoutError, OSError) as problem:
                    raise _NoAnswer(_words(problem)) from None
                return Answer(response.status, response.headers, body)

    @contextlib.asynccontextmanager
    async def stream(self, request: Request, *, idle: float | None = None) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer to be read as it comes. idle: seconds of silence after which it counts as broken.

        Raises StatusError for a refusal, Unreachable. Its own breaks are aiohttp.ClientError, TimeoutError or OSError.
        """
        response = await self._answering(request, idle)
        try:
            if response.status != 200:
                raise refusal(response.status, await response.content.read(1 << 20))
            yield response
        finally:
            # A half-read answer cannot be reused; releasing it would mean reading it to its end.
            response.close()

    async def _answering(self, request: Request, idle: float | None) -> aiohttp.ClientResponse:
        trial = _Trial(self.config)
        while True:
            server = self.server
            try:
                return await self._send(server, request, idle)
            except (_NotSent, _NoAnswer) as trouble:
                trial.failed(server, trouble, request)
            self.move_on(server)
            await trial.pause()

    async def _send(self, server: str, request: Request, idle: float | None) -> aiohttp.ClientResponse:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self.config.connect_timeout, sock_read=idle)
        self._renew()
        try:
            return await self.session().request(
                request.method,
                server + request.path,
                params=list(request.query),
                headers=[*self._credentials.headers(), *request.headers.items()],
                data=request.body,
                timeout=timeout,
                **self._connection(),
            )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as problem:
            raise _NotSent(_words(problem)) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as problem:
            raise _NoAnswer(_words(problem)) from None

    @contextlib.asynccontextmanager
    async def websocket(
        self, path: str, query: Sequence[tuple[str, str]], protocols: Sequence[str]
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """A WebSocket to the present server. Raises StatusError for a refusal, Unreachable."""
        self._renew()
        try:
            opened = await self.session().ws_connect(
                self.server + path,
                params=list(query),
                protocols=protocols,
                headers=self._credentials.headers(),
                max_msg_size=1 << 24,
                heartbeat=30.0,
                **self._connection(),
            )
        except aiohttp.WSServerHandshakeError as problem:
            raise refusal(problem.status, problem.message.encode()) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as problem:
            raise Unreachable({self.server: _words(problem)}) from None
        async with opened:
            yield opened

    def session(self) -> aiohttp.ClientSession:
        """The pool."""
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=0, keepalive_timeout=_IDLE_CONNECTION, socket_factory=_socket_with_keepalive
            )
            self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        return self._session

    def _connection(self) -> dict[str, Any]:
        if self._tls is None:
            return {}
        return {"ssl": self._tls, "server_hostname": self.config.server_name or None}

    async def close(self) -> None:
        """End every connection, streams among them."""
        if self._session is not None:
            await self._session.close()
            self._session = None


class _Trial:
    """One call's way from server to server."""

    def __init__(self, config: Config) -> None:
        self._servers = len(config.servers)
        self._started = time.monotonic()
        self._patience, self._timeout = config.patience, config.timeout
        self._trouble: dict[str, str] = {}
        self._pauses = delays()
        self._attempts = 0

    def failed(self, server: str, trouble: Exception, request: Request) -> None:
        """Note it. Raises Unreachable when there is no going on."""
        self._trouble[server] = str(trouble)
        self._attempts += 1
        sent = isinstance(trouble, _NoAnswer)
        if sent and not request.repeatable:
            raise Unreachable(self._trouble, maybe_applied=True)
        if self._attempts >= self._servers and self._elapsed() >= self._patience:
            raise Unreachable(self._trouble)

    async def pause(self) -> None:
        """Between rounds of all servers, not between servers."""
        if self._attempts and self._attempts % self._servers == 0:
            await asyncio.sleep(min(next(self._pauses), max(self._patience - self._elapsed(), 0)))

    def wait(self, answer: Answer, request: Request) -> float | None:
        """Seconds to wait before asking again; None: this is the answer."""
        asked = _seconds(answer.headers.get("Retry-After", ""))
        if request.patient and asked is not None and answer.status in _LATER:
            return asked if self._elapsed() + asked < self._timeout else None
        if request.repeatable and answer.status in _GATEWAY and self._elapsed() < self._patience:
            return next(self._pauses)
        return None

    def _elapsed(self) -> float:
        return time.monotonic() - self._started


def _seconds(retry_after: str) -> float | None:
    """The number of a Retry-After header; None for none, and for a date, which API servers do not send."""
    return max(float(retry_after), 0.05) if retry_after.isdigit() else None


def _words(problem: BaseException) -> str:
    if isinstance(problem, TimeoutError):
        return "no answer in time"
    inner = getattr(problem, "os_error", None) or problem
    if isinstance(inner, ssl.SSLError):
        return f"TLS: {getattr(inner, 'verify_message', '') or inner.reason or inner}"
    number = getattr(inner, "errno", None)
    # asyncio's own text names the address, which we do, and not what is wrong.
    return os.strerror(number) if isinstance(number, int) and number > 0 else str(inner) or type(problem).__name__


def _socket_with_keepalive(address: Any) -> socket.socket:
    """Finds a machine that is gone, or cut off, in half a minute; watches have nothing to send themselves."""
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return made
