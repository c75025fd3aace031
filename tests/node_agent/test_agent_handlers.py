"""Probe handlers against real little servers: HTTP, TCP, gRPC, commands."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from aiohttp import web
from harness.ports import free_port

from node_agent.probes.handlers import Handlers, Outcome, Target
from node_agent.probes.hooks import LifecycleHooks
from node_agent.runtime.errors import ExecTimeout, NotRunning
from node_agent.runtime.types import ExecResult

Object = dict[str, Any]


class Runtime:
    """exec_sync by the first word of the command."""

    async def exec_sync(self, container_id: str, command: list[str], timeout: float = 0.0) -> ExecResult:
        match command[0]:
            case "slow":
                raise ExecTimeout("it took too long")
            case "gone":
                raise NotRunning("container c does not run")
        return ExecResult(int(command[0]), b"said this", b"")


def run(work: Callable[[Handlers], Awaitable[None]]) -> None:
    async def all_of_it() -> None:
        handlers = Handlers(Runtime())  # type: ignore[arg-type]
        try:
            await work(handlers)
        finally:
            await handlers.close()

    asyncio.run(all_of_it())


async def attempt(handlers: Handlers, handler: Object, timeout: float = 2.0, **container: Any) -> Outcome:
    return await handlers.run(Target({}, {"name": "web", **container}, "c", "127.0.0.1"), handler, timeout)


async def http_server() -> tuple[web.AppRunner, int, list[web.Request]]:
    seen: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request)
        if request.path == "/slow":
            await asyncio.sleep(30)
        if request.path == "/elsewhere":
            raise web.HTTPFound("http://elsewhere.invalid/")
        if request.path == "/moved":
            raise web.HTTPFound("/200")
        if request.path == "/loop":
            raise web.HTTPFound("/loop")
        return web.Response(status=int(request.path[1:]), text="body")

    app = web.Application()
    app.router.add_get("/{any:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return runner, runner.addresses[0][1], seen


def test_http() -> None:
    async def work(handlers: Handlers) -> None:
        runner, port, seen = await http_server()
        try:

            async def get(path: str, timeout: float = 2.0, **more: Any) -> Outcome:
                return await attempt(handlers, {"httpGet": {"path": path, "port": port, **more}}, timeout)

            assert await get("/200") == Outcome(True, "body")
            assert (await get("/399")).ok
            assert await get("/404") == Outcome(False, "HTTP probe failed with statuscode: 404")
            assert (await get("/moved")).ok
            assert (await get("/elsewhere")).ok
            assert "stopped after 10 redirects" in (await get("/loop")).message
            assert "context deadline exceeded" in (await get("/slow", 0.1)).message
            await get("/200", httpHeaders=[{"name": "X-A", "value": "1"}, {"name": "Host", "value": "me"}])
            assert seen[-1].headers["X-A"] == "1"
            assert seen[-1].host == "me"
            assert seen[-1].headers["User-Agent"] == "kube-probe/1.32"
            by_name = {"httpGet": {"path": "/200", "port": "web"}}
            assert (await attempt(handlers, by_name, ports=[{"name": "web", "containerPort": port}])).ok
            missing = await attempt(handlers, by_name)
            assert (missing.ok, missing.error) == (False, True)
            assert "couldn't find port" in missing.message
        finally:
            await runner.cleanup()
        refused = await attempt(handlers, {"httpGet": {"path": "/x", "port": port}})
        assert (
            refused.message
            == f'Get "http://127.0.0.1:{port}/x": dial tcp 127.0.0.1:{port}: connect: connection refused'
        )

    run(work)


def test_tcp() -> None:
    async def work(handlers: Handlers) -> None:
        server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        assert (await attempt(handlers, {"tcpSocket": {"port": port}})).ok
        server.close()
        await server.wait_closed()
        refused = await attempt(handlers, {"tcpSocket": {"port": port}})
        assert not refused.ok
        assert f"dial tcp 127.0.0.1:{port}: connect:" in refused.message

    run(work)


def test_grpc() -> None:
    async def work(handlers: Handlers) -> None:
        states = {"": 1, "sick": 2}

        async def check(request: bytes, context: Any) -> bytes:
            name = request[2:].decode()
            if name not in states:
                await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
            return bytes([8, states[name]])

        server = grpc.aio.server()
        method = grpc.unary_unary_rpc_method_handler(check)
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": method}),)
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        assert (await attempt(handlers, {"grpc": {"port": port}})).ok
        sick = await attempt(handlers, {"grpc": {"port": port, "service": "sick"}})
        assert sick.message == 'service unhealthy (responded with "NOT_SERVING")'
        unknown = await attempt(handlers, {"grpc": {"port": port, "service": "x"}})
        assert "NOT_FOUND" in unknown.message
        await server.stop(None)
        assert not (await attempt(handlers, {"grpc": {"port": free_port()}}, 0.5)).ok

    run(work)


@pytest.mark.parametrize(
    ("command", "outcome"),
    [
        ("0", Outcome(True, "said this")),
        ("3", Outcome(False, "said this")),
        ("slow", Outcome(False, 'command timed out: "slow" timed out after 2s')),
        ("gone", Outcome(False, "container c does not run", error=True)),
    ],
)
def test_commands(command: str, outcome: Outcome) -> None:
    async def work(handlers: Handlers) -> None:
        assert await attempt(handlers, {"exec": {"command": [command]}}) == outcome

    run(work)


def test_hooks() -> None:
    async def work(handlers: Handlers) -> None:
        hooks = LifecycleHooks(handlers, lambda uid: "127.0.0.1")

        async def hook(handler: Object, timeout: float = 1.0) -> str:
            container = {"name": "web", "lifecycle": {"preStop": handler}}
            return await hooks.run({"metadata": {"uid": "u"}}, container, "c", "preStop", timeout)

        assert await hook({"exec": {"command": ["0"]}}) == ""
        assert await hook({"exec": {"command": ["3"]}}) == "said this"
        began = asyncio.get_running_loop().time()
        assert await hook({"sleep": {"seconds": 60}}, 0.05) == ""
        assert asyncio.get_running_loop().time() - began < 30

    run(work)
