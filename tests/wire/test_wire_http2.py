"""Plain HTTP over HTTP/2: the handler of HTTP/1.1, other frames."""

from __future__ import annotations

import pytest
from wire_peer import QUIET, Frame, RawPeer, data, settings

from kvstore.wire.h2 import frames
from kvstore.wire.h2.errors import ErrorCode as E
from kvstore.wire.h2.frames import FrameType as F
from kvstore.wire.http import HttpRequest, HttpResponse
from kvstore.wire.limits import Limits


def fields(method: str = "GET", path: str = "/health?x=%20", **extra: str) -> list[tuple[str, str]]:
    base = [(":method", method), (":scheme", "https"), (":path", path), (":authority", "x")]
    return base + [(name.replace("_", "-"), value) for name, value in extra.items()]


class Web(RawPeer):
    """A peer whose connection has an HTTP handler; `requests` waits for answers if `later`."""

    def __init__(self, limits: Limits = QUIET, *, later: bool = False) -> None:
        super().__init__(limits)
        self.requests: list[HttpRequest] = []
        self.later = later
        self.connection.http = self.answer

    def answer(self, request: HttpRequest) -> HttpResponse | None:
        self.requests.append(request)
        if request.path == "/raise":
            raise RuntimeError("boom")
        if self.later:
            return None
        return HttpResponse(200, request.method.encode() + b" " + request.body, "text/plain", (("X-Y", "z"),))


def test_get():
    peer = Web()
    answer = peer.send(peer.headers(1, fields(accept="*/*"), end=True))
    assert peer.fields(answer[0]) == {":status": "200", "content-type": "text/plain", "x-y": "z", "content-length": "4"}
    assert peer.bodies(answer) == b"GET "
    assert answer[-1].flags & frames.END_STREAM
    (request,) = peer.requests
    assert (request.method, request.path, request.query, request.headers["accept"]) == (
        "GET",
        "/health",
        "x=%20",
        "*/*",
    )
    assert not peer.connection.streams


def test_post_in_pieces():
    peer = Web()
    peer.send(peer.headers(1, fields("POST", content_length="10")) + data(1, b"01234"))
    assert not peer.requests
    answer = peer.send(data(1, b"56789", end=True))
    assert peer.bodies(answer) == b"POST 0123456789"


def test_head():
    peer = Web()
    answer = peer.send(peer.headers(1, fields("HEAD"), end=True))
    assert peer.fields(answer[0])["content-length"] == "5"
    assert peer.bodies(answer) == b""


def test_streamed_response_under_flow_control():
    peer = Web(later=True)
    peer.send(settings(INITIAL_WINDOW_SIZE=10) + peer.headers(1, fields(), end=True))
    (request,) = peer.requests
    drained = []
    request.on_drain = lambda: drained.append(request.buffered)
    request.start(200, "application/json")
    request.write(b"x" * 25)
    answer = peer.take()
    assert "content-length" not in peer.fields(answer[0])
    assert request.buffered == 15
    answer += peer.send(frames.window_update(1, 20))
    assert drained == [0]
    request.end()
    answer += peer.take()
    assert peer.bodies(answer) == b"x" * 25
    assert answer[-1].flags & frames.END_STREAM


@pytest.mark.parametrize("how", ["reset", "lost"])
def test_a_client_that_goes_is_noticed(how):
    peer = Web(later=True)
    peer.send(peer.headers(1, fields(), end=True))
    (request,) = peer.requests
    heard = []
    request.on_closed = lambda: heard.append(how)
    if how == "reset":
        peer.send(frames.rst_stream(1, E.CANCEL))
    else:
        peer.connection.lost("gone")
    assert heard == [how]
    request.respond(HttpResponse())
    request.start()
    request.write(b"x")
    request.end()
    assert request.buffered == 0


def test_too_long_a_body():
    peer = Web(Limits(max_http_body=1_000, keepalive_interval=0))
    answer = peer.send(peer.headers(1, fields("POST")) + data(1, b"x" * 1_001))
    assert peer.fields(answer[0])[":status"] == "413"
    assert peer.resets(answer) == {1: E.NO_ERROR}
    assert not peer.requests
    assert peer.send(data(1, b"x" * 5_000, end=True)) == []


def test_a_handler_that_raises():
    peer = Web()
    answer = peer.send(peer.headers(1, fields(path="/raise"), end=True))
    assert peer.fields(answer[0])[":status"] == "500"
    assert peer.status(peer.call(3), 3) == (0, "")


def test_grpc_is_still_grpc():
    peer = Web()
    assert peer.status(peer.call(1, path="/nowhere/Nope"))[0] == 12
    assert peer.requests == []
    assert not [f for f in peer.call(3) if f.kind == F.RST_STREAM]


def body_of(peer: Web, number: int, size: int) -> list[Frame]:
    """A request whose body goes on."""
    return peer.send(peer.headers(number, fields("POST")) + data(number, b"x" * size))


def test_unfinished_bodies_are_too_much_together():
    peer = Web(Limits(keepalive_interval=0, max_partial=20_000))
    peer.connection.max_message = 0
    assert body_of(peer, 1, 10_000) == []
    assert body_of(peer, 3, 10_000) == []
    answer = body_of(peer, 5, 1_000)
    assert peer.fields(answer[0])[":status"] == "413"
    assert peer.resets(answer) == {5: E.NO_ERROR}
    assert peer.connection.partial == 20_000
    # The others are not to blame.
    assert peer.bodies(peer.send(data(1, b"", end=True))) == b"POST " + b"x" * 10_000
    assert peer.connection.partial == 10_000
    assert body_of(peer, 7, 1_000) == []


@pytest.mark.parametrize("how", ["whole", "reset", "lost", "too long", "broken"])
def test_a_body_counts_until_it_is_whole_or_over(how):
    peer = Web(Limits(keepalive_interval=0, max_http_body=5_000))
    peer.send(peer.headers(1, fields("POST", content_length="2000")) + data(1, b"x" * 1_000))
    body_of(peer, 3, 1_000)
    assert peer.connection.partial == 2_000
    if how == "whole":
        peer.send(data(1, b"x" * 1_000, end=True))
    elif how == "reset":
        peer.send(frames.rst_stream(1, E.CANCEL))
    elif how == "broken":
        assert peer.resets(peer.send(data(1, b"x" * 2_000))) == {1: E.PROTOCOL_ERROR}
    elif how == "too long":
        assert body_of(peer, 5, 6_000)
        assert peer.connection.partial == 2_000
        peer.send(frames.rst_stream(1, E.CANCEL))
    else:
        peer.connection.lost("gone")
    assert peer.connection.partial == (0 if how == "lost" else 1_000)


def test_a_request_knows_what_waits_on_its_connection():
    peer = Web(later=True)
    peer.send(
        settings(INITIAL_WINDOW_SIZE=0) + peer.headers(1, fields(), end=True) + peer.headers(3, fields(), end=True)
    )
    first, second = peer.requests
    first.start()
    first.write(b"x" * 100_000)
    assert (second.buffered, second.buffered_on_connection) == (0, 100_000)
