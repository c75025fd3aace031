"""The ASGI application: the way of a request from the connection to its handler and back.

Order: path → Authenticator → Limits → Authorizer → handler; Audit around it. Whatever a handler raises becomes a
Status: StatusError as it stands, exhausted recursion (a body nested too deeply) 400, anything else 500 and a log entry.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from control.api.status import StatusError, bad_request, internal_error, timeout, unauthorized
from control.apiserver.answer import Answer, refusal
from control.apiserver.call import Call, Gone
from control.apiserver.denial import denied
from control.apiserver.paths import parse
from control.apiserver.request import Attributes, Headers, PeerCertificate
from control.apiserver.server import Server

log = logging.getLogger(__name__)

Send = Callable[[Any], Awaitable[None]]
_MISTAKE: Final = "the server made a mistake; its log says more"


class Application:
    """One for the whole server."""

    def __init__(self, server: Server) -> None:
        self.server = server

    async def __call__(self, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Send) -> None:
        started = time.perf_counter()
        headers = headers_of(scope["headers"])
        try:
            info = parse(scope["method"], scope["path"], scope["query_string"])
        except StatusError as problem:
            await self._send(refusal(problem), scope, send)
            return
        call = Call(self.server, info, headers, receive, scope)
        self.server.metrics.begin()
        code = 500
        try:
            code = await self._serve(call, send)
        except Gone:
            code = 499
        finally:
            kind = call.kind or self.server.resources.catalogue.find(info.group, info.version, info.resource)
            self.server.metrics.done(info, kind, code, time.perf_counter() - started)

    async def _serve(self, call: Call, send: Send) -> int:
        """Answer the request; the status code."""
        try:
            await self._authenticate(call)
            self._begin_audit(call)
            async with self.server.security.limits.admit(call.user, call.info):
                self._authorize(call)
                answer = await self._dispatch(call)
                # What stays open is counted until it ends; it holds no seat of the requests in flight.
                if answer.stream is None or call.info.is_long_running:
                    return await self._finish(call, answer, send)
            # A long list has been made; its client may take its time to read it.
            return await self._finish(call, answer, send)
        except StatusError as problem:
            return await self._finish(call, refusal(problem), send)
        except RecursionError:
            return await self._finish(call, refusal(bad_request("the body is nested too deeply")), send)
        except Gone:
            raise
        except Exception:
            log.exception("%s %s failed", call.info.method, call.info.path)
            return await self._finish(call, refusal(internal_error(_MISTAKE)), send)

    async def _dispatch(self, call: Call) -> Answer:
        """The answer, in time. StatusError 504."""
        try:
            async with asyncio.timeout(self.server.settings.request_timeout):
                return await self.server.router.dispatch(call)
        except TimeoutError:
            raise timeout("the request did not complete within the allotted timeout") from None

    async def _authenticate(self, call: Call) -> None:
        """Find out the call's user."""
        peer: PeerCertificate | None = call.scope.get("extensions", {}).get("fluyt.peer")
        authenticator = self.server.security.authenticator
        try:
            user = await authenticator.authenticate(call.headers, peer)
            if user is None:
                raise unauthorized()
            call.user = user
            call.user = authenticator.acting(user, call.headers)
        except StatusError:
            # Who tries wrong credentials is written down, and by name who would be somebody else.
            self._begin_audit(call)
            raise

    def _authorize(self, call: Call) -> None:
        decision = self.server.security.authorizer.authorize(call.user, Attributes.of(call.info))
        if not decision.allowed:
            raise denied(call.user, call.info, decision.reason)

    def _begin_audit(self, call: Call) -> None:
        audit = self.server.security.audit
        if audit is not None:
            client = call.scope.get("client")
            source = client[0] if client else ""
            call.audit = audit.begin(call.info, call.user, call.headers, source, time.time())

    async def _finish(self, call: Call, answer: Answer, send: Send) -> int:
        if call.audit is not None:
            call.audit.done(answer.code, answer.object, call.annotations)
        for warning in dict.fromkeys(call.warnings):
            answer.headers.append((b"warning", b'299 - "%b"' % _header_text(warning)))
        if answer.takeover is not None:
            await answer.takeover()
        else:
            await self._send(answer, call.scope, send)
        return answer.code

    async def _send(self, answer: Answer, scope: dict[str, Any], send: Send) -> None:
        headers = [(b"content-type", answer.media_type), *answer.headers, (b"cache-control", b"no-cache, private")]
        respond = scope.get("fluyt.respond")
        if respond is not None and answer.stream is None:
            await respond(answer.code, headers, answer.body)
            return
        if answer.stream is None and answer.code != 304:
            headers.append((b"content-length", str(len(answer.body)).encode()))
        await send({"type": "http.response.start", "status": answer.code, "headers": headers})
        if answer.stream is None:
            await send({"type": "http.response.body", "body": answer.body})
            return
        try:
            async for piece in answer.stream:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except Exception:
            # Half an answer is out: only a torn connection can say that the rest will not come.
            log.exception("%s was torn", scope["path"])
            scope["extensions"]["fluyt.connection"].transport.abort()
            return
        finally:
            await answer.stream.aclose()  # type: ignore[attr-defined]
        await send({"type": "http.response.body", "body": b""})


def headers_of(pairs: list[tuple[bytes, bytes]]) -> Headers:
    """Names are in lower case already; repeated ones are joined."""
    headers: dict[str, str] = {}
    for name, value in pairs:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        headers[key] = f"{headers[key]},{text}" if key in headers else text
    return headers


def _header_text(text: str) -> bytes:
    """A warning as a quoted string of a header: printable, one line, at most 1,000 bytes."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return printable.replace("\\", "\\\\").replace('"', '\\"').encode()[:1000]
