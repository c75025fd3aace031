"""GET of a pod's log: streamed from the agent of its node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import urlencode

from control.api.status import StatusError, bad_request, internal_error, not_found
from control.apiserver.agents import container_of, find_node, node_of, path_of, place_of, refuse
from control.apiserver.answer import Answer
from control.apiserver.call import Call
from control.apiserver.handlers.get import find

_NUMBERS: Final = ("limitBytes", "sinceSeconds", "tailLines")
_PASSED: Final = ("follow", "previous", "sinceTime", "timestamps", "stream", *_NUMBERS)
HEAD_SECONDS: Final = 30.0


async def get(call: Call) -> Answer:
    """Text, as long as it is followed. StatusError 400: which container?; 404; 503: the agent does not answer."""
    pod = (await find(call, call.namespace, call.info.name)).object()
    container = container_of(pod, call.info.parameter("container"))
    for name in _NUMBERS:
        text = call.info.parameter(name)
        if text and not (text.isascii() and text.isdigit() and len(text) < 19):
            raise bad_request(f"{name}: Invalid value: {text!r}: must be a whole number that is not negative")
    node = find_node(call.server.resources.get("nodes", "", node_of(pod)), node_of(pod))
    place = place_of(node)
    query = urlencode([(name, call.info.parameter(name)) for name in _PASSED if call.info.parameter(name)])
    path = path_of("containerLogs", call.namespace, call.info.name, container)
    response = await _ask(call, place, f"{place.url}{path}?{query}")
    if response.status != 200:
        raise await _refusal(call, response)
    return Answer(stream=_pieces(call, response), media_type=b"text/plain")


async def _ask(call: Call, place: Any, url: str) -> Any:
    import aiohttp

    try:
        async with asyncio.timeout(HEAD_SECONDS):
            return await call.server.agents.session.get(url)
    except (aiohttp.ClientError, OSError, TimeoutError) as problem:
        raise refuse(problem, place) from None


async def _refusal(call: Call, response: Any) -> StatusError:
    """What the agent says, as a Status."""
    text = (await response.content.read(4096)).decode(errors="replace").strip()
    response.close()
    if response.status == 404:
        return not_found("pods", call.info.name) if not text else StatusError(404, "NotFound", text)
    if 400 <= response.status < 500:
        return bad_request(text or f"the agent answered {response.status}")
    return internal_error(text or f"the agent answered {response.status}")


async def _pieces(call: Call, response: Any) -> AsyncIterator[bytes]:
    import aiohttp

    gone = asyncio.ensure_future(_disconnected(call))
    gone.add_done_callback(lambda _: response.close())
    try:
        async for piece in response.content.iter_any():
            yield piece
    except (aiohttp.ClientError, OSError) as problem:
        if not gone.done():
            yield f"\nthe log ended: the agent does not answer any more: {problem}\n".encode()
    finally:
        gone.cancel()
        response.close()


async def _disconnected(call: Call) -> None:
    while (await call.receive())["type"] != "http.disconnect":
        pass
