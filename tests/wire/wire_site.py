"""A server of ours in a thread of its own, for peers that block: grpcio, command line tools."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvloop

from kvstore.errors import error
from kvstore.wire.grpc.call import Call
from kvstore.wire.http import HttpRequest, HttpResponse
from kvstore.wire.limits import Limits
from kvstore.wire.server import GrpcServer


class Echo:
    """Sends every message back; a message "fail" fails the call, "burst N" answers with N messages."""

    def __init__(self, call: Call) -> None:
        self.call = call

    def message(self, data: bytes) -> None:
        if data == b"fail":
            raise error("COMPACTED")
        if data.startswith(b"burst "):
            for number in range(int(data[6:])):
                self.call.send(b"%d" % number)
            return
        self.call.send(data)

    def half_close(self) -> None:
        self.call.finish()

    def closed(self) -> None:
        pass


class Site:
    """What the tests look at. `calls` are those of /test.Store/Never; `ended` is set when one of them was."""

    def __init__(self, limits: Limits, max_message: int) -> None:
        self.server = GrpcServer(limits, max_message)
        self.calls: list[Call] = []
        self.ended = threading.Event()
        self.port = 0
        self.loop = asyncio.new_event_loop()
        self.server.unary("/etcdserverpb.KV/Put", lambda call, body: call.reply(b"\x0a\x04\x08\x01\x10\x02"))
        self.server.unary("/test.Store/Same", lambda call, body: call.reply(body))
        self.server.unary("/test.Store/Big", lambda call, body: call.reply(b"x" * int(body)))
        self.server.unary("/test.Store/Meta", self._meta)
        self.server.unary("/test.Store/Never", self._never)
        self.server.unary("/test.Store/Boom", lambda call, body: 1 / 0)
        self.server.unary("/test.Store/Later", self._later)
        self.server.stream("/test.Store/Echo", Echo)
        self.server.http = self._http

    def _meta(self, call: Call, body: bytes) -> None:
        found = {**call.metadata, **{k: v.hex() for k, v in call.metadata_bin.items()}}
        call.reply(repr(found).encode())

    def _never(self, call: Call, body: bytes) -> None:
        self.calls.append(call)
        call.on_closed = self.ended.set

    def _later(self, call: Call, body: bytes) -> None:
        self.loop.call_later(0.05, call.reply, body)

    def _http(self, request: HttpRequest) -> HttpResponse | None:
        if request.path == "/stream":
            request.start(200, "application/json")
            for _ in range(3):
                request.write(b"piece\n")
            request.end()
            return None
        return HttpResponse(200, b"%b %b" % (request.path.encode(), request.body), "application/json")


@contextmanager
def running(
    limits: Limits | None = None, max_message: int = 2 * 1024 * 1024, ssl=None, fast: bool = True
) -> Iterator[Site]:
    """A site that listens on a free port; its loop and thread end with the block."""
    ready = threading.Event()
    made: list[Site] = []

    async def serve() -> None:
        site = Site(limits or Limits(), max_message)
        site.loop = asyncio.get_running_loop()
        site.stop = asyncio.Event()
        site.port = await site.server.listen("127.0.0.1", 0, ssl)
        made.append(site)
        ready.set()
        await site.stop.wait()
        await site.server.stop()

    runner = uvloop.run if fast else asyncio.run
    thread = threading.Thread(target=lambda: runner(serve()), daemon=True)
    thread.start()
    assert ready.wait(10)
    (site,) = made
    try:
        yield site
    finally:
        site.loop.call_soon_threadsafe(site.stop.set)
        thread.join(10)
        assert not thread.is_alive()
