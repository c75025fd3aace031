"""HTTP/1.1: the parser on any cut of the bytes, what it refuses, and responses of every kind over a real socket."""

from __future__ import annotations

import asyncio
import random

import pytest
from harness.plan import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from kvstore.wire.http import HttpRequest, HttpResponse
from kvstore.wire.http1_parser import BadRequest, Http1Parser
from kvstore.wire.limits import Limits
from kvstore.wire.server import GrpcServer

GET = b"GET /health?a=1 HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\nA;ext=1\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
)


def parse(data: bytes, cuts: random.Random | None = None, limits: Limits | None = None):
    parser, found, at = Http1Parser(limits or Limits()), [], 0
    while at < len(data):
        size = cuts.choice([1, 2, 7, 100]) if cuts else len(data)
        parser.feed(data[at : at + size])
        at += size
        while (request := parser.next()) is not None:
            found.append(request)
    return found


@pytest.mark.parametrize("seed", [None, *range(20)])
def test_pipelined_requests_in_any_cut(seed):
    cuts = None if seed is None else random.Random(seed)
    found = parse(GET + POST + CHUNKED + b"\r\n" + GET, cuts)
    assert [(head.method, head.target, body) for head, body in found] == [
        ("GET", "/health?a=1", b""),
        ("POST", "/v3/kv/put", b"hello"),
        ("POST", "/c", b"abc0123456789"),
        ("GET", "/health?a=1", b""),
    ]


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GE T / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nName : y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\nY: z\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1;" + b"x" * 1_000, 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3E9\r\n", 413),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 2_000, 431),
        (b"G" * 3_000, 431),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
            + b"X: yyyyyyyyyyyyyyyyyyyyyy\r\n" * 90,
            431,
        ),
    ],
)
def test_refused(request_bytes, status):
    small = Limits(max_http_head=2_000, max_http_body=1_000)
    for cuts in (None, random.Random(1)):
        with pytest.raises(BadRequest) as caught:
            parse(request_bytes, cuts, small)
        assert caught.value.status == status


@pytest.mark.parametrize(
    ("target", "host", "expected"),
    [
        ("http://store:2379/v3/kv/put?a=1", "store:2379", "/v3/kv/put?a=1"),
        ("HTTPS://store/health", "store", "/health"),
        ("http://store", "store", "/"),
        ("http://store?a=1", "store", "/?a=1"),
        ("http://[::1]:2379/x", "[::1]:2379", "/x"),
        ("/http://store/", "x", "/http://store/"),
        ("*", "x", "*"),
    ],
)
def test_a_target_may_say_whom_it_is_for(target, host, expected):
    """RFC 9112 section 3.2.2: what Host says does not count then."""
    ((head, _),) = parse(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert (head.target, head.headers["host"]) == (expected, host)


@pytest.mark.parametrize("target", ["http:///health", "http://", "http://user@store/health", "http://?a"])
def test_a_target_that_is_for_nobody(target):
    with pytest.raises(BadRequest):
        parse(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


@settings(max_examples=examples(300), deadline=None)
@given(
    st.lists(st.sampled_from([GET, POST, CHUNKED, b"\r\n", b"0", b"\0", b"HTTP/1.1", b"A: b\r\n"]), max_size=8),
    st.binary(max_size=50),
)
def test_garbage_is_refused_or_waits(pieces, noise):
    try:
        parse(b"".join(pieces) + noise)
    except BadRequest as fault:
        assert 400 <= fault.status < 500  # noqa: PT017


class Site:
    """A server with one handler of every kind."""

    def __init__(self, **limits) -> None:
        self.server = GrpcServer(Limits(**limits))
        self.server.http = self.answer
        self.waiting: list[HttpRequest] = []
        self.dropped = asyncio.Event()

    def answer(self, request: HttpRequest) -> HttpResponse | None:
        if request.path == "/raise":
            raise RuntimeError("boom")
        if request.path == "/later":
            self.waiting.append(request)
            asyncio.get_running_loop().call_soon(request.respond, HttpResponse(200, b"later"))
            return None
        if request.path == "/never":
            request.on_closed = self.dropped.set
            return None
        if request.path == "/stream":
            request.start(200, "application/json")
            for number in range(3):
                request.write(b'{"n":%d}' % number)
            request.end()
            return None
        if request.path == "/empty":
            return HttpResponse(204)
        return HttpResponse(200, b"%b %b %b" % (request.method.encode(), request.path.encode(), request.body))

    async def talk(self, data: bytes) -> bytes:
        """Everything the server says to these bytes until it closes."""
        port = await self.server.listen("127.0.0.1", 0)
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(data)
            answer = await asyncio.wait_for(reader.read(), 10)
            writer.close()
            return answer
        finally:
            await self.server.stop()


def talk(data: bytes, **limits) -> bytes:
    async def run() -> bytes:
        return await Site(**limits).talk(data)

    return asyncio.run(run())


CLOSE = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def test_keep_alive_and_pipelining():
    answer = talk(GET + POST + CHUNKED + CLOSE)
    assert answer.count(b"HTTP/1.1 200 OK") == 4
    assert answer.count(b"connection: keep-alive") == 3
    order = [
        answer.index(part)
        for part in (b"GET /health ", b"POST /v3/kv/put hello", b"POST /c abc0123456789", b"GET /last ")
    ]
    assert order == sorted(order)


def test_a_request_that_waits_holds_those_behind_it():
    answer = talk(b"GET /later HTTP/1.1\r\nHost: x\r\n\r\n" + CLOSE)
    assert answer.index(b"later") < answer.index(b"GET /last")


def test_stream_is_chunked():
    answer = talk(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n" + CLOSE)
    assert b"transfer-encoding: chunked" in answer
    assert b'7\r\n{"n":0}\r\n7\r\n{"n":1}\r\n7\r\n{"n":2}\r\n0\r\n\r\nHTTP/1.1 200' in answer


def test_http_1_0_gets_no_chunks_and_a_close():
    answer = talk(b"GET /stream HTTP/1.0\r\n\r\n")
    assert answer.endswith(b'\r\n\r\n{"n":0}{"n":1}{"n":2}')
    assert b"chunked" not in answer


def test_head_has_no_body():
    answer = talk(b"HEAD /health HTTP/1.1\r\nHost: x\r\n\r\nHEAD /stream HTTP/1.1\r\nHost: x\r\n\r\n" + CLOSE)
    assert b"content-length: 13\r\nconnection: keep-alive\r\n\r\nHTTP/1.1 200 OK" in answer
    assert b'{"n"' not in answer


def test_no_content_has_no_length():
    answer = talk(b"GET /empty HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 204 No Content\r\n")
    assert b"content-length" not in answer


def test_continue_is_said_before_the_body():
    async def run() -> None:
        site = Site()
        port = await site.server.listen("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ok")
        assert (await asyncio.wait_for(reader.readuntil(b"POST /x ok"), 10)).startswith(b"HTTP/1.1 200 OK")
        writer.close()
        await site.server.stop()

    asyncio.run(run())


def test_a_handler_that_raises():
    answer = talk(b"GET /raise HTTP/1.1\r\nHost: x\r\n\r\n" + CLOSE)
    assert answer.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert b"GET /last" in answer


def test_bad_request_is_answered_and_closed():
    answer = talk(b"NONSENSE\r\n\r\n" + GET)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.count(b"HTTP/1.1") == 1


def test_without_a_handler():
    async def run() -> bytes:
        site = Site()
        site.server.http = None
        return await site.talk(CLOSE)

    assert asyncio.run(run()).startswith(b"HTTP/1.1 404 Not Found\r\n")


def test_a_client_that_goes_is_noticed():
    async def run() -> None:
        site = Site()
        port = await site.server.listen("127.0.0.1", 0)
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /never HTTP/1.1\r\nHost: x\r\n\r\n")
        await writer.drain()
        writer.transport.abort()
        await asyncio.wait_for(site.dropped.wait(), 10)
        await site.server.stop()

    asyncio.run(run())


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\nHo", b"P", b""], ids=["in the head", "undecided", "silent"])
def test_a_slow_request_is_cut_off(first):
    assert talk(first, handshake_timeout=0.5) == b""


def test_an_idle_connection_is_cut_off():
    assert talk(GET, idle_timeout=0.5).startswith(b"HTTP/1.1 200 OK")
