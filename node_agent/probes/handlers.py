"""One attempt of a probe or hook: a command, HTTP GET, TCP connect, gRPC health check. What came of it, never an error.

Faults assumed: the container answers slowly, wrongly, endlessly or not at all; every attempt has a time limit and reads
a bounded answer. Certificates of HTTPS probes are not verified, as in Kubernetes: the probe asks whether it answers.
Source: "Configure Liveness, Readiness and Startup Probes" in the Kubernetes documentation; grpc.health.v1.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from yarl import URL

from node_agent.pod import spec
from node_agent.pod.spec import Object
from node_agent.runtime.errors import ExecTimeout, RuntimeFault
from node_agent.runtime.interface import Runtime

_MOST_BODY: Final = 10 << 10
_SHOWN: Final = 1024
_USER_AGENT: Final = "kube-probe/1.32"
_MOST_REDIRECTS: Final = 10


@dataclass(frozen=True, slots=True)
class Target:
    """What is probed. ip: the pod's address, where HTTP, TCP and gRPC go to unless they name a host."""

    pod: Object
    container: Object
    container_id: str
    ip: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """error: the attempt itself was impossible, which counts as a failure, too. message: for the event."""

    ok: bool
    message: str = ""
    error: bool = False


class Handlers:
    """Runs handlers of real containers; one per node."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._session: aiohttp.ClientSession | None = None

    async def run(self, target: Target, handler: Object, timeout: float) -> Outcome:
        """timeout: seconds, > 0."""
        try:
            if handler.get("exec") is not None:
                return await self._exec(target, list(handler["exec"].get("command") or []), timeout)
            if handler.get("httpGet") is not None:
                return await self._http(target, handler["httpGet"], timeout)
            if handler.get("tcpSocket") is not None:
                return await self._tcp(target, handler["tcpSocket"], timeout)
            if handler.get("grpc") is not None:
                return await self._grpc(target, handler["grpc"], timeout)
        except ValueError as problem:  # a port that has no number
            return Outcome(False, str(problem), error=True)
        return Outcome(False, "missing probe handler", error=True)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _exec(self, target: Target, command: list[str], timeout: float) -> Outcome:
        try:
            result = await self._runtime.exec_sync(target.container_id, command, timeout)
        except ExecTimeout:
            return Outcome(False, f'command timed out: "{" ".join(command)}" timed out after {timeout:g}s')
        except RuntimeFault as problem:
            return Outcome(False, str(problem), error=True)
        output = (result.stdout + result.stderr)[:_MOST_BODY].decode(errors="replace").strip()
        return Outcome(result.exit_code == 0, output or f"command exited with code {result.exit_code}")

    async def _tcp(self, target: Target, action: Object, timeout: float) -> Outcome:
        host = action.get("host") or target.ip
        port = spec.port_number(target.container, action["port"])
        try:
            async with asyncio.timeout(timeout):
                _, writer = await asyncio.open_connection(host, port)
        except TimeoutError:
            return Outcome(False, f"dial tcp {_address(host, port)}: i/o timeout")
        except OSError as problem:
            return Outcome(False, f"dial tcp {_address(host, port)}: connect: {_plain(problem)}")
        writer.close()
        return Outcome(True)

    # ---- HTTP ----

    async def _http(self, target: Target, action: Object, timeout: float) -> Outcome:
        host = action.get("host") or target.ip
        port = spec.port_number(target.container, action["port"])
        scheme = str(action.get("scheme") or "HTTP").lower()
        path = str(action.get("path") or "/")
        text = f"{scheme}://{_address(host, port)}{path if path.startswith('/') else '/' + path}"
        headers = _headers(action, host, port)
        try:
            async with asyncio.timeout(timeout):
                status, body, elsewhere = await self._get(text, headers, host)
        except TimeoutError:
            return Outcome(False, f'Get "{text}": context deadline exceeded (Client.Timeout exceeded)')
        except (aiohttp.ClientError, OSError, ssl.SSLError, ValueError) as problem:
            return Outcome(False, f'Get "{text}": {_cause(problem, host, port)}')
        if elsewhere:
            return Outcome(True, f"Probe terminated redirects, Response body: {body}")
        if 200 <= status < 400:
            return Outcome(True, body)
        return Outcome(False, f"HTTP probe failed with statuscode: {status}")

    async def _get(self, text: str, headers: dict[str, str], host: str) -> tuple[int, str, bool]:
        """Status, start of the body, and whether it ended at a redirect to another host, which counts as success."""
        url = URL(text, encoded=True)
        for _ in range(_MOST_REDIRECTS):
            async with self._http_session().get(url, headers=headers, allow_redirects=False, ssl=False) as answer:
                body = (await answer.content.read(_MOST_BODY))[:_SHOWN].decode(errors="replace")
                location = answer.headers.get("Location")
                if answer.status not in (301, 302, 303, 307, 308) or not location:
                    return answer.status, body, False
                following = url.join(URL(location))
                if following.host != url.host:
                    return answer.status, body, True
                url = following
        raise ValueError("stopped after 10 redirects")

    def _http_session(self) -> aiohttp.ClientSession:
        """Every probe opens its own connection: one that is kept would not show that new ones are refused."""
        if self._session is None:
            connector = aiohttp.TCPConnector(force_close=True, limit=0)
            timeout = aiohttp.ClientTimeout(total=None)
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
            )
        return self._session

    # ---- gRPC ----

    async def _grpc(self, target: Target, action: Object, timeout: float) -> Outcome:
        from grpc import StatusCode, aio  # loads slowly, and few pods need it

        service = str(action.get("service") or "")
        where = _address(target.ip, int(action["port"]))
        async with aio.insecure_channel(where, options=[("grpc.enable_retries", 0)]) as channel:
            check = channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                request_serializer=_health_request,
                response_deserializer=_health_status,
            )
            try:
                status: int = await check(service, timeout=timeout)
            except aio.AioRpcError as problem:
                return Outcome(False, _grpc_problem(problem, StatusCode, service, where, timeout))
        if status == _SERVING:
            return Outcome(True)
        name = _HEALTH.get(status, str(status))
        return Outcome(False, f'service unhealthy (responded with "{name}")')


_SERVING: Final = 1
_HEALTH: Final = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}


def _health_request(service: str) -> bytes:
    """HealthCheckRequest{service = 1}."""
    from google.protobuf.wrappers_pb2 import StringValue

    # A StringValue has the very same encoding: one string in field 1.
    return StringValue(value=service).SerializeToString()


def _health_status(data: bytes) -> int:
    """HealthCheckResponse{status = 1}: an Int32Value has the very same encoding."""
    from google.protobuf.wrappers_pb2 import Int32Value

    return Int32Value.FromString(data).value


def _grpc_problem(problem: Any, codes: Any, service: str, where: str, timeout: float) -> str:
    match problem.code():
        case codes.UNIMPLEMENTED:
            return f"error: this server at {where} does not implement the grpc health protocol (grpc.health.v1.Health)"
        case codes.DEADLINE_EXCEEDED:
            return f'timeout: health rpc did not complete within {timeout:g}s (service "{service}")'
        case codes.UNAVAILABLE:
            return f'timeout: failed to connect service "{where}" within {timeout:g}s: {problem.details()}'
    return f"error: health rpc probe failed: {problem.code().name}: {problem.details()}"


def _headers(action: Object, host: str, port: int) -> dict[str, str]:
    found = {"User-Agent": _USER_AGENT, "Accept": "*/*"}
    for header in action.get("httpHeaders") or []:
        name, value = str(header.get("name", "")), str(header.get("value", ""))
        if name.lower() in ("user-agent", "accept"):
            found = {k: v for k, v in found.items() if k.lower() != name.lower()}
            if not value:
                continue
        found[name] = value
    return found


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _plain(problem: OSError) -> str:
    return (problem.strerror or str(problem) or type(problem).__name__).lower()


def _cause(problem: Exception, host: str, port: int) -> str:
    os_error = getattr(problem, "os_error", problem)
    if isinstance(problem, aiohttp.ClientConnectorError) and isinstance(os_error, OSError):
        return f"dial tcp {_address(host, port)}: connect: {_refusal(os_error)}"
    if isinstance(problem, aiohttp.ServerDisconnectedError):
        return "EOF"
    return str(problem) or type(problem).__name__


def _refusal(problem: OSError) -> str:
    return os.strerror(problem.errno).lower() if problem.errno else _plain(problem)
