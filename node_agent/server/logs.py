"""GET /containerLogs/<namespace>/<pod>/<container>: a container's log, from its file."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from node_agent.logs.reader import LogOptions, read_log
from node_agent.pod import spec
from node_agent.pod.config import log_directory, log_path
from node_agent.server.directory import Directory, Found

_STREAMS = {"": "All", "All": "All", "Stdout": "stdout", "Stderr": "stderr"}


class Logs:
    """The handler of one server."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    async def get(self, request: web.Request) -> web.StreamResponse:
        namespace, pod, container = (request.match_info[part] for part in ("namespace", "pod", "container"))
        options = log_options(request)
        previous = request.query.get("previous") in ("true", "1")
        if previous:
            found = self._directory.previous(namespace, pod, container)
        else:
            found = self._directory.container(namespace, pod, container)
        path = _path(found)
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        response.enable_chunked_encoding()
        if not path.exists():
            if options.follow and found.container.running:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
            else:
                raise web.HTTPNotFound(text=f"the log of container {container} is not there any more: {path.name}")
        await response.prepare(request)
        async for piece in read_log(path, options, lambda: _may_write(found)):
            await response.write(piece)
        await response.write_eof()
        return response


def _path(found: Found) -> Path:
    folder = log_directory(found.worker.pod, found.agent.parts.log_root)
    return Path(folder) / log_path(found.container.name, found.container.attempt)


def _may_write(found: Found) -> bool:
    """Whether this very run of the container still runs."""
    runs = found.agent.view.of(found.worker.uid).containers.get(found.container.name, ())
    return any(run.id == found.container.id and run.running for run in runs)


def log_options(request: web.Request) -> LogOptions:
    """Of a query. Raises HTTPBadRequest, which names the parameter."""
    query = request.query
    return LogOptions(
        follow=query.get("follow") in ("true", "1"),
        tail=_number(query.get("tailLines"), "tailLines", None),
        since=_since(query.get("sinceSeconds"), query.get("sinceTime")),
        timestamps=query.get("timestamps") in ("true", "1"),
        limit=_number(query.get("limitBytes"), "limitBytes", 0) or 0,
        stream=_stream(query.get("stream", "")),
    )


def _number(text: str | None, name: str, default: int | None) -> int | None:
    if not text:
        return default
    if not text.isdigit():
        raise web.HTTPBadRequest(text=f"{name}: must be a number that is not negative, not {text!r}")
    return int(text)


def _since(seconds: str | None, moment: str | None) -> str:
    ago = _number(seconds, "sinceSeconds", None)
    if ago is not None:
        return datetime.fromtimestamp(time.time() - ago, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if not moment:
        return ""
    try:
        when = datetime.fromtimestamp(spec.seconds_of(moment), UTC)
    except ValueError:
        raise web.HTTPBadRequest(text=f"sinceTime: {moment!r} is no RFC 3339 time") from None
    return when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _stream(text: str) -> str:
    if text not in _STREAMS:
        raise web.HTTPBadRequest(text=f"stream: {text!r} is none of All, Stdout, Stderr")
    return _STREAMS[text]
