"""What has ended is freed at once, by counting references: no call, request or connection waits for the collector."""

from __future__ import annotations

import asyncio
import weakref

import pytest
import uvloop
from wire_peer import LATER, RawPeer, data, message, request_fields, settings

from kvstore.wire.grpc.call import Call
from kvstore.wire.h2 import frames
from kvstore.wire.http import HttpRequest
from kvstore.wire.server import GrpcServer

BODY = bytes(1 << 22)


pytestmark = pytest.mark.usefixtures("no_collector")


class Answerer:
    """A handler that sends more than its client takes, and waits for the client in both ways."""

    def __init__(self, call: Call) -> None:
        self.call = call
        call.on_drain = self.go_on
        call.on_closed = self.give_up
        call.send(BODY)

    def go_on(self) -> None:
        """The client has read all."""

    def give_up(self) -> None:
        """The client has gone."""


def waiting() -> tuple[RawPeer, weakref.ref[Call], weakref.ref[Answerer]]:
    """A call with an answerer that waits for a client that has read a part."""
    peer = RawPeer()
    peer.call(1, path=LATER)
    (call,) = peer.calls
    peer.calls.clear()
    refs = weakref.ref(call), weakref.ref(Answerer(call))
    del call
    assert None not in [ref() for ref in refs], "they hold each other while the call lasts"
    return (peer, *refs)


@pytest.mark.parametrize("ending", ["reset", "lost", "finish", "fail", "expire"])
def test_a_call_that_ends_forgets_who_waited_for_it(ending):
    peer, call, answerer = waiting()
    if ending == "reset":
        peer.send(frames.rst_stream(1, 8))
    elif ending == "lost":
        peer.connection.lost("gone")
    elif ending == "fail":
        call().fail(8, "enough")
    else:
        getattr(call(), ending)()
    assert answerer() is None


def test_a_call_whose_end_was_read_is_gone():
    peer, call, _ = waiting()
    call().finish()
    assert call() is not None, "its end waits behind its message"
    peer.send(frames.window_update(1, len(BODY)) + frames.window_update(0, len(BODY)))
    while peer.connection.has_more:
        peer.connection.pump()
        peer.take()
    assert call() is None


@pytest.mark.parametrize("ending", ["reset", "lost", "read"])
def test_a_plain_request_over_http2_is_gone_with_its_end(ending):
    peer = RawPeer()
    seen: list[weakref.ref[HttpRequest]] = []

    def handler(request: HttpRequest) -> None:
        seen.append(weakref.ref(request))
        request.on_drain = request.on_closed = request.end
        request.start()
        request.write(BODY)

    peer.connection.http = handler
    fields = [field for field in request_fields("/page") if field[0] != "content-type"]
    peer.send(peer.headers(1, fields, end=True))
    assert seen[0]() is not None
    if ending == "reset":
        peer.send(frames.rst_stream(1, 8))
    elif ending == "lost":
        peer.connection.lost("gone")
    else:
        peer.send(frames.window_update(1, len(BODY)) + frames.window_update(0, len(BODY)))
        while peer.connection.has_more:
            peer.connection.pump()
            peer.take()
    assert seen[0]() is None


def test_nothing_is_left_of_a_connection_that_never_read():
    refs: list[weakref.ref] = []
    server = GrpcServer()
    asked = asyncio.Event()

    def handler(call: Call, body: bytes) -> None:
        refs.extend([weakref.ref(call), weakref.ref(call.connection), weakref.ref(Answerer(call))])
        refs.extend(weakref.ref(link) for link in server.links)
        asked.set()

    async def strangers() -> None:
        server.unary(LATER, handler)
        _, stranger = await asyncio.open_connection("127.0.0.1", await server.listen("127.0.0.1", 0))
        wide = settings(INITIAL_WINDOW_SIZE=2**31 - 1) + frames.window_update(0, 2**31 - 70_000)
        request = RawPeer().headers(1, request_fields(LATER)) + data(1, message(b"x"), end=True)
        stranger.write(frames.PREFACE + wide + request)
        await asyncio.wait_for(asked.wait(), 30)
        stranger.transport.abort()
        async with asyncio.timeout(30):
            while server.links or any(ref() is not None for ref in refs):
                await asyncio.sleep(0.005)
        await server.stop()

    uvloop.run(strangers())
    assert len(refs) == 4
