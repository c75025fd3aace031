"""grpcio (grpc-core) as the client of our server: what every Python, Ruby, PHP or C# client does."""

from __future__ import annotations

import threading
import time

import grpc
import pytest
from wire_site import running


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def site(request):
    with running(fast=request.param == "uvloop") as made:
        yield made


@pytest.fixture
def channel(site):
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{site.port}", options=options) as made:
        yield made


def test_unary(channel):
    same = channel.unary_unary("/test.Store/Same")
    for body in (b"", b"x", b"y" * 16_379, b"z" * 16_380, b"w" * 2_000_000):
        assert same(body, timeout=20) == body


def test_many_at_once(channel):
    same = channel.unary_unary("/test.Store/Same")
    later = channel.unary_unary("/test.Store/Later")
    calls = [(call.future(b"%d" % n, timeout=30), n) for n in range(1_000) for call in (same, later)]
    for call, number in calls:
        assert call.result() == b"%d" % number


@pytest.mark.parametrize("size", [0, 100_000, 10_000_000])
def test_large_answers(channel, size):
    assert len(channel.unary_unary("/test.Store/Big")(b"%d" % size, timeout=30)) == size


def test_metadata(channel):
    sent = (("token", "secret.1"), ("hasleader", "true"), ("trace-bin", b"\0\xff\1"))
    got = eval(channel.unary_unary("/test.Store/Meta")(b"", metadata=sent, timeout=10))  # noqa: S307  (our own repr)
    assert got["token"] == "secret.1"
    assert got["hasleader"] == "true"
    assert got["trace-bin"] == "00ff01"
    assert "user-agent" in got


def failure(call):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), caught.value.details()


def test_errors(channel):
    unary = channel.unary_unary
    assert failure(lambda: unary("/test.Store/Nope")(b"")) == (
        grpc.StatusCode.UNIMPLEMENTED,
        "unknown method Nope for service test.Store",
    )
    assert failure(lambda: unary("/test.Store/Boom")(b"")) == (
        grpc.StatusCode.UNKNOWN,
        "ZeroDivisionError: division by zero",
    )
    assert failure(lambda: unary("/test.Store/Same")(b"x" * 2_097_153)) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "grpc: received message larger than max (2097153 vs. 2097152)",
    )
    assert unary("/test.Store/Same")(b"x" * 5000, compression=grpc.Compression.Gzip) == b"x" * 5000
    assert failure(lambda: unary("/test.Store/Same")(b"x" * 2_097_153, compression=grpc.Compression.Gzip))[0] == (
        grpc.StatusCode.RESOURCE_EXHAUSTED
    )
    assert failure(lambda: unary("/test.Store/Same")(b"x" * 5000, compression=grpc.Compression.Deflate))[0] == (
        grpc.StatusCode.UNIMPLEMENTED
    )
    # The connection is still good.
    assert unary("/test.Store/Same")(b"x", timeout=10) == b"x"


def test_deadline_reaches_the_handler(site, channel):
    site.ended.clear()
    site.calls.clear()
    never = channel.unary_unary("/test.Store/Never")
    assert failure(lambda: never(b"", timeout=0.3))[0] == grpc.StatusCode.DEADLINE_EXCEEDED
    assert site.ended.wait(10)
    assert site.calls[0].closed
    assert 0.2 < site.calls[0].timeout < 0.4


def test_cancel_reaches_the_handler(site, channel):
    site.ended.clear()
    site.calls.clear()
    call = channel.unary_unary("/test.Store/Never").future(b"")
    while not site.calls:
        time.sleep(0.01)
    call.cancel()
    assert site.ended.wait(10)
    assert site.calls[0].timeout is None


def test_stream(channel):
    echo = channel.stream_stream("/test.Store/Echo")
    bodies = [b"", b"a", b"b" * 70_000, b"c" * 1_500_000, b"d"]
    assert list(echo(iter(bodies), timeout=30)) == bodies


def test_stream_of_many_messages(channel):
    echo = channel.stream_stream("/test.Store/Echo")
    assert list(echo(iter([b"burst 50000"]), timeout=60)) == [b"%d" % n for n in range(50_000)]


def test_stream_that_fails(channel):
    echo = channel.stream_stream("/test.Store/Echo")
    got = []

    def run() -> None:
        got.extend(echo(iter([b"a", b"fail", b"never"]), timeout=10))

    assert failure(run) == (grpc.StatusCode.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted")


def test_stream_both_ways_in_turn(channel):
    turn = threading.Semaphore(1)
    got = []

    def bodies():
        for number in range(200):
            turn.acquire()
            yield b"%d" % number

    for body in channel.stream_stream("/test.Store/Echo")(bodies(), timeout=30):
        got.append(int(body))
        turn.release()
    assert got == list(range(200))


def test_stream_cancelled(channel):
    wait = threading.Event()

    def bodies():
        yield b"a"
        wait.wait(10)

    stream = channel.stream_stream("/test.Store/Echo")(bodies())
    assert next(stream) == b"a"
    stream.cancel()
    wait.set()
    with pytest.raises(grpc.RpcError) as caught:
        next(stream)
    assert caught.value.code() == grpc.StatusCode.CANCELLED


def test_a_reader_that_lags_gets_everything(channel):
    stream = channel.stream_stream("/test.Store/Echo")(iter([b"burst 20000"]))
    first = next(stream)
    time.sleep(0.5)
    assert [first, *stream] == [b"%d" % n for n in range(20_000)]


def test_counters(site):
    methods = site.server.methods
    same = methods["/test.Store/Same"]
    assert same.started == sum(same.handled) > 0
    assert methods["/test.Store/Boom"].handled[2] > 0
    assert site.server.stats.received > 1_000_000
    assert site.server.stats.sent > 1_000_000
