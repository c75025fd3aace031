"""Paths that are no resources: discovery, OpenAPI, health, version, metrics, causes."""

from __future__ import annotations

import platform
import sys
from typing import Final

from control.api.status import method_not_allowed, no_such_path
from control.apiserver.answer import Answer, json_answer, text_answer
from control.apiserver.call import Call
from control.apiserver.handlers import health
from control.apiserver.router import handler

MINOR: Final = "32"
_READ: Final = frozenset({"GET", "HEAD"})


async def serve(call: Call) -> Answer:
    """Find the page. StatusError 404, 405."""
    parts = [part for part in call.info.path.split("/") if part]
    first = parts[0] if parts else ""
    page = call.server.security.pages.get(call.info.path)
    if call.info.method not in _READ:
        raise method_not_allowed() if first in _PAGES or page else no_such_path()
    if page is not None:
        return json_answer(page)
    match first:
        case "version":
            return json_answer(version())
        case "healthz" | "livez" | "readyz":
            return await health.serve(call, first, parts[1:])
        case "metrics":
            return text_answer(call.server.router.figures(), media_type=b"text/plain; version=0.0.4; charset=utf-8")
        case "api" | "apis":
            return await handler("discovery:serve")(call)
        case "openapi":
            return await handler("openapi:serve")(call)
        case "fluyt":
            return await handler("causes:serve")(call)
        case "":
            return json_answer({"paths": sorted(f"/{page}" for page in _PAGES)})
    raise no_such_path()


_PAGES: Final = frozenset({"api", "apis", "healthz", "livez", "metrics", "openapi", "readyz", "version"})


def version() -> dict[str, str]:
    """As kubectl reads it: the API is Kubernetes 1.32's."""
    from kvstore.version import FLUYT_VERSION

    return {
        "major": "1",
        "minor": MINOR,
        "gitVersion": f"v1.{MINOR}.0+fluyt.{FLUYT_VERSION}",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": platform.python_implementation(),
        "platform": f"{sys.platform}/{platform.machine()}",
    }
