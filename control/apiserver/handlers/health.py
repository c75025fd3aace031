"""/livez, /readyz, /healthz: is the process well, can it serve?

Live means that the loop turns. Ready means that the store answered a linearizable read within a moment, the watch of
the store stands, and nobody has asked the server to end. With ?verbose every check is named.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from control.api.status import StatusError, no_such_path
from control.apiserver.answer import Answer, text_answer
from control.apiserver.call import Call
from control.apiserver.server import Server

SECONDS: Final = 3.0


async def _ping(server: Server) -> str:
    return ""


async def _etcd(server: Server) -> str:
    try:
        async with asyncio.timeout(SECONDS):
            await server.storage.current_revision()
    except (StatusError, TimeoutError) as problem:
        return str(problem) or "no answer in time"
    return ""


async def _watch(server: Server) -> str:
    return "" if server.feed.connected else "the watch of the store is down"


async def _shutdown(server: Server) -> str:
    return "the server is shutting down" if server.stopping else ""


async def store_trouble(server: Server) -> str:
    """Why the store does not answer, "" when it does."""
    return await _etcd(server)


Checks = dict[str, Callable[[Server], Awaitable[str]]]

_LIVE: Final[Checks] = {"ping": _ping}
_READY: Final[Checks] = {**_LIVE, "etcd": _etcd, "informer-sync": _watch, "shutdown": _shutdown}
_CHECKS: Final[dict[str, Checks]] = {"livez": _LIVE, "readyz": _READY, "healthz": {"ping": _ping, "etcd": _etcd}}


async def serve(call: Call, page: str, rest: list[str]) -> Answer:
    """One page, or one check of it. 500 when a check fails."""
    checks = _CHECKS[page]
    excluded = {name for value in call.info.query.get("exclude", ()) for name in value.split(",")}
    if rest:
        if len(rest) > 1 or rest[0] not in checks:
            raise no_such_path()
        checks = {rest[0]: checks[rest[0]]}
    results = {name: await check(call.server) for name, check in checks.items() if name not in excluded}
    failed = any(results.values())
    if not failed and "verbose" not in call.info.query:
        return text_answer("ok")
    lines = [f"[-]{name} failed: {why}" if why else f"[+]{name} ok" for name, why in results.items()]
    lines.append(f"{page} check {'failed' if failed else 'passed'}")
    return text_answer("\n".join(lines) + "\n", 500 if failed else 200)
