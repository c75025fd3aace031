"""HTTP/1.1 without sockets: clients that read or send slowly, and what is behind an answer that nobody reads."""

from __future__ import annotations

from typing import Any

import pytest

from kvstore.wire.http import HttpRequest, HttpResponse
from kvstore.wire.http1 import Http1Link
from kvstore.wire.limits import Limits
from kvstore.wire.link import HIGH_WATER, Traffic

GET = b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n"
CLOSE = b"GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
LONG = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
CHUNKED = b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


class Client:
    """A transport whose client reads what it is told to, and a loop whose time moves only in wait()."""

    def __init__(self, answer: bytes = b"", **limits: Any) -> None:
        self.now = 0.0
        self.unsent = 0
        self.reading = True
        self.held = self.cut = self.closed = False
        self.requests: list[HttpRequest] = []
        self.answer = answer
        loop: Any = self
        self.link = Http1Link(loop, loop, Traffic(), Limits(**limits), self.serve, "x:1")

    def serve(self, request: HttpRequest) -> HttpResponse | None:
        self.requests.append(request)
        return HttpResponse(200, self.answer) if self.answer else None

    def send(self, data: bytes) -> None:
        self.link.data_received(data)

    def read(self, size: int) -> None:
        """So much of what was written."""
        self.unsent = max(0, self.unsent - size)
        if self.held and self.unsent < HIGH_WATER // 4:
            self.held = False
            self.link.resume_writing()

    def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now += 1
            self.link.tick(self.now)

    # ---- what the link asks of its loop and transport

    def time(self) -> float:
        return self.now

    def write(self, data: bytes) -> None:
        self.unsent += len(data)
        if self.unsent > HIGH_WATER and not self.held:
            self.held = True
            self.link.pause_writing()

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def abort(self) -> None:
        self.cut = True

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


def test_one_answer_may_be_larger_than_the_limit():
    client = Client(bytes(10 * HIGH_WATER), max_unsent=HIGH_WATER)
    client.send(GET)
    assert (client.cut, client.unsent > 10 * HIGH_WATER) == (False, True)


def test_more_of_an_answer_than_the_limit_that_nobody_reads_is_too_much():
    client = Client(max_unsent=HIGH_WATER)
    client.send(GET)
    (request,) = client.requests
    request.start()
    for _ in range(10):
        request.write(bytes(HIGH_WATER))
    assert client.cut
    assert client.unsent < 4 * HIGH_WATER


def test_what_is_behind_an_unread_answer_waits():
    client = Client(bytes(2 * HIGH_WATER), max_unsent=HIGH_WATER)
    client.send(5 * GET)
    assert len(client.requests) == 1
    # More than that stays in the kernel.
    client.send(10_000 * GET)
    assert not client.reading
    for answered in (2, 3, 4):
        client.read(3 * HIGH_WATER)
        assert len(client.requests) == answered
    assert not client.cut


@pytest.mark.parametrize("request_bytes", [GET, CLOSE])
def test_a_client_that_reads_slowly_is_no_stall(request_bytes):
    client = Client(bytes(10 * HIGH_WATER), stall_timeout=60)
    client.send(request_bytes)
    for _ in range(20):
        client.wait(50)
        client.read(HIGH_WATER // 4)
    assert not client.cut


@pytest.mark.parametrize("request_bytes", [GET, CLOSE])
def test_a_client_that_does_not_read_is_one(request_bytes):
    client = Client(bytes(10 * HIGH_WATER), stall_timeout=60)
    client.send(request_bytes)
    client.wait(59)
    assert not client.cut
    client.wait(3)
    assert client.cut


@pytest.mark.parametrize("begin", [LONG, CHUNKED])
def test_a_body_may_take_its_time(begin):
    client = Client(handshake_timeout=10)
    client.send(begin)
    for _ in range(60):
        client.wait(1)
        client.send(b"800\r\n" + bytes(2048) + b"\r\n")
    assert not client.cut


@pytest.mark.parametrize("begin", [LONG, CHUNKED])
def test_a_body_that_comes_in_drops_is_cut_off(begin):
    client = Client(handshake_timeout=10)
    client.send(begin)
    for _ in range(60):
        client.wait(1)
        client.send(b"8\r\n" + bytes(8) + b"\r\n")
    assert client.cut


def test_a_head_has_one_time_for_all_of_it():
    client = Client(handshake_timeout=10)
    client.send(b"GET / HTTP/1.1\r\n")
    for number in range(12):
        client.wait(1)
        client.send(b"X-%d: %b\r\n" % (number, bytes(2048).hex().encode()))
    assert client.cut
