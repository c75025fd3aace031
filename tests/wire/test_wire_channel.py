"""Channel: against grpcio's server, against ours, and against servers that vanish."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
import uvloop
from hpack import Encoder

from kvstore.errors import EtcdError
from kvstore.wire.channel import Channel
from kvstore.wire.grpc.client_connection import ClientConnection
from kvstore.wire.h2.frames import ACK, END_HEADERS, END_STREAM, FrameType, frame
from kvstore.wire.limits import Limits
from kvstore.wire.server import GrpcServer


class Ear:
    """A listener that gathers."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.end: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        self.heard = asyncio.Event()

    def message(self, data: bytes) -> None:
        self.messages.append(data)
        self.heard.set()

    def finished(self, code: int, message: str) -> None:
        assert not self.end.done(), "finished twice"
        self.end.set_result((code, message))

    async def wait(self) -> tuple[int, str]:
        return await asyncio.wait_for(self.end, 20)


class GrpcioService(grpc.GenericRpcHandler):
    """What the tests call, in grpcio."""

    def service(self, details):
        return {
            "/t/Same": grpc.unary_unary_rpc_method_handler(lambda body, context: body),
            "/t/Meta": grpc.unary_unary_rpc_method_handler(self.meta),
            "/t/Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "/t/Slow": grpc.unary_unary_rpc_method_handler(self.slow),
            "/t/Echo": grpc.stream_stream_rpc_method_handler(lambda bodies, context: bodies),
            "/t/Count": grpc.unary_stream_rpc_method_handler(
                lambda body, context: (b"%d" % n for n in range(int(body)))
            ),
            "/t/Join": grpc.stream_unary_rpc_method_handler(lambda bodies, context: b"".join(bodies)),
        }.get(details.method)

    def meta(self, body, context):
        return repr(sorted((k, v) for k, v in context.invocation_metadata() if k.startswith("x-"))).encode()

    def fail(self, body, context):
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "grüße: 100%")

    def slow(self, body, context):
        done = __import__("threading").Event()
        context.add_callback(done.set)
        done.wait(10)
        return b""


@pytest.fixture(scope="module")
def grpcio_port():
    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers((GrpcioService(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None).wait()


def run(coroutine):
    return uvloop.run(asyncio.wait_for(coroutine, 60))


async def connect(port: int, **options) -> Channel:
    return await Channel.connect("127.0.0.1", port, timeout=10, **options)


def test_unary_against_grpcio(grpcio_port):
    async def go() -> None:
        channel = await connect(grpcio_port)
        for size in (0, 1, 16_379, 16_380, 5_000_000):
            assert await channel.unary("/t/Same", b"x" * size, 20) == b"x" * size
        got = await asyncio.gather(*(channel.unary("/t/Same", b"%d" % n, 30) for n in range(300)))
        assert got == [b"%d" % n for n in range(300)]
        meta = await channel.unary("/t/Meta", b"", 10, (("x-token", "abc"), ("x-raw-bin", b"\0\1")))
        assert eval(meta) == [("x-raw-bin", b"\0\1"), ("x-token", "abc")]  # noqa: S307  (our own repr)
        channel.close()

    run(go())


def test_errors_against_grpcio(grpcio_port):
    async def go() -> None:
        channel = await connect(grpcio_port)
        for path, timeout, code, text in (
            ("/t/Fail", 10, 9, "grüße: 100%"),
            ("/t/Nope", 10, 12, "Method not found!"),
            ("/t/Slow", 0.2, 4, "context deadline exceeded"),
        ):
            with pytest.raises(EtcdError) as caught:
                await channel.unary(path, b"", timeout)
            # Of a deadline the server may hear first, and say it in its own words.
            told = caught.value.message.replace("Deadline Exceeded", "context deadline exceeded")
            assert (caught.value.code, told) == (code, text)
        # A task that is cancelled cancels its call, and the channel goes on.
        task = asyncio.ensure_future(channel.unary("/t/Slow", b""))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await channel.unary("/t/Same", b"x", 10) == b"x"
        channel.close()

    run(go())


def test_streams_against_grpcio(grpcio_port):
    async def go() -> None:
        channel = await connect(grpcio_port)
        bodies = [b"", b"a", b"b" * 100_000, b"c" * 3_000_000]
        ear = Ear()
        call = channel.open("/t/Echo", listener=ear)
        for body in bodies:
            call.send(body)
        call.half_close()
        assert await ear.wait() == (0, "")
        assert ear.messages == bodies
        ear = Ear()
        call = channel.open("/t/Count", listener=ear)
        call.send(b"5000")
        call.half_close()
        assert await ear.wait() == (0, "")
        assert ear.messages == [b"%d" % n for n in range(5_000)]
        ear = Ear()
        call = channel.open("/t/Join", listener=ear)
        for _ in range(100):
            call.send(b"x" * 10_000)
        call.half_close()
        assert await ear.wait() == (0, "")
        assert ear.messages == [b"x" * 1_000_000]
        channel.close()

    run(go())


class Pair:
    """A server of ours and a channel to it, in one loop."""

    def __init__(self, **limits) -> None:
        self.server = GrpcServer(Limits(**limits), max_message_bytes=10**8)
        self.calls: list = []
        self.arrived = asyncio.Event()
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.server.unary("/t/Same", lambda call, body: call.reply(body))
        self.server.unary("/t/Never", self._never)
        self.server.stream("/t/Echo", self._echo)

    def _never(self, call, body: bytes) -> None:
        self.calls.append(call)
        self.arrived.set()

    def _echo(self, call):
        class Echo:
            message = staticmethod(call.send)
            half_close = staticmethod(call.finish)
            closed = staticmethod(self.arrived.set)

        self.calls.append(call)
        return Echo()

    async def channel(self, **options) -> Channel:
        self.port = await self.server.listen("127.0.0.1", 0)
        return await connect(self.port, on_lost=self.lost.set_result, **options)


def test_against_ourselves():
    async def go() -> None:
        pair = Pair()
        channel = await pair.channel()
        assert await channel.unary("/t/Same", b"x" * 20_000_000, 30) == b"x" * 20_000_000
        ear = Ear()
        call = channel.open("/t/Echo", listener=ear)
        drained = asyncio.Event()
        call.on_drain = drained.set
        for _ in range(30):
            call.send(b"y" * 1_000_000)
        assert call.buffered > 0
        await asyncio.wait_for(drained.wait(), 20)
        assert call.buffered == 0
        call.half_close()
        assert await ear.wait() == (0, "")
        assert ear.messages == [b"y" * 1_000_000] * 30
        assert channel.traffic.sent > 50_000_000
        channel.close()
        await pair.server.stop()

    run(go())


def test_what_is_sent_now_leaves_in_this_very_turn_and_nothing_else_does():
    async def go() -> None:
        pair = Pair()
        channel = await pair.channel()
        ear = Ear()
        call = channel.open("/t/Echo", listener=ear)
        before = channel.traffic.sent
        call.send(b"first")
        assert channel.traffic.sent == before, "by itself it waits for the end of the turn"
        channel.send_now(call, b"second")
        after = channel.traffic.sent
        assert after > before
        call.send(b"third")
        call.half_close()
        assert channel.traffic.sent == after
        assert await ear.wait() == (0, "")
        assert ear.messages == [b"first", b"second", b"third"]
        channel.close()
        channel.send_now(call, b"fourth")  # of no use any more, and harmless
        await pair.server.stop()

    run(go())


def test_calls_wait_for_a_free_stream():
    async def go() -> None:
        pair = Pair(max_concurrent_streams=2)
        channel = await pair.channel()
        ears = [Ear() for _ in range(4)]
        calls = [channel.open("/t/Echo", listener=ear) for ear in ears]
        for number, call in enumerate(calls):
            call.send(b"%d" % number)
        await asyncio.wait_for(ears[1].heard.wait(), 10)
        assert calls[2].buffered > 0
        assert not ears[2].messages
        # One that waits may be cancelled, or closed, before it starts.
        calls[2].cancel()
        calls[3].half_close()
        calls[0].half_close()
        assert await ears[0].wait() == (0, "")
        assert await ears[3].wait() == (0, "")
        assert ears[3].messages == [b"3"]
        assert (await ears[2].wait())[0] == 1
        channel.close()
        assert (await ears[1].wait())[0] == 14
        await pair.server.stop()

    run(go())


def test_cancel_reaches_the_server():
    async def go() -> None:
        pair = Pair()
        channel = await pair.channel()
        ear = Ear()
        call = channel.open("/t/Echo", listener=ear)
        call.send(b"x")
        await asyncio.wait_for(ear.heard.wait(), 10)
        call.cancel()
        assert await ear.wait() == (1, "canceled by the caller")
        await asyncio.wait_for(pair.arrived.wait(), 10)
        assert pair.calls[0].closed
        call.send(b"late")
        call.half_close()
        call.cancel()
        assert await channel.unary("/t/Same", b"x", 10) == b"x"
        channel.close()
        await pair.server.stop()

    run(go())


def test_loss_is_heard_at_once():
    async def go() -> None:
        pair = Pair()
        channel = await pair.channel()
        ear = Ear()
        channel.open("/t/Echo", listener=ear)
        waiting = asyncio.ensure_future(channel.unary("/t/Never", b"", 30))
        await asyncio.wait_for(pair.arrived.wait(), 10)
        await pair.server.stop()
        await asyncio.wait_for(pair.lost, 5)
        assert ear.end.done()
        assert (await ear.wait())[0] == 14
        with pytest.raises(EtcdError) as caught:
            await waiting
        assert caught.value.code == 14
        assert channel.closed
        with pytest.raises(EtcdError, match="takes no calls"):
            channel.open("/t/Echo", listener=Ear())

    run(go())


def test_close_does_not_call_on_lost():
    async def go() -> None:
        pair = Pair()
        channel = await pair.channel()
        ear = Ear()
        channel.open("/t/Echo", listener=ear)
        channel.close()
        assert await ear.wait() == (14, "channel closed")
        channel.close()
        while pair.server.links:
            await asyncio.sleep(0.01)
        assert not pair.lost.done()
        await pair.server.stop()

    run(go())


def test_graceful_stop_finishes_running_calls():
    async def go() -> None:
        pair = Pair()
        channel = await pair.channel()
        waiting = asyncio.ensure_future(channel.unary("/t/Never", b"", 30))
        await asyncio.wait_for(pair.arrived.wait(), 10)
        stopping = asyncio.ensure_future(pair.server.stop(20))
        while not channel.closed:
            await asyncio.sleep(0.01)
        pair.calls[0].reply(b"at last")
        assert await waiting == b"at last"
        await asyncio.wait_for(stopping, 5)
        await asyncio.wait_for(pair.lost, 5)

    run(go())


def test_stop_ends_calls_after_the_grace():
    async def go() -> None:
        pair = Pair()
        channel = await pair.channel()
        waiting = asyncio.ensure_future(channel.unary("/t/Never", b"", 30))
        await asyncio.wait_for(pair.arrived.wait(), 10)
        await pair.server.stop(0.2)
        with pytest.raises(EtcdError):
            await waiting

    run(go())


def test_too_many_connections():
    async def go() -> None:
        pair = Pair(max_connections=1)
        channel = await pair.channel()
        with pytest.raises(EtcdError) as caught:
            await connect(pair.port)
        assert caught.value.code == 14
        assert (pair.server.stats.accepted, pair.server.stats.refused) == (1, 1)
        channel.close()
        await pair.server.stop()

    run(go())


@pytest.mark.parametrize("kind", ["nobody", "silent", "not http/2", "closes"])
def test_connect_fails(kind):
    async def go() -> None:
        async def serve(reader, writer) -> None:
            if kind == "not http/2":
                writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            if kind == "closes":
                writer.close()
            await reader.read()
            writer.close()

        listener = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        if kind == "nobody":
            listener.close()
        with pytest.raises(EtcdError, match="cannot connect to") as caught:
            await Channel.connect("127.0.0.1", port, timeout=0.5)
        assert caught.value.code == 14
        listener.close()

    run(go())


def test_a_server_that_answers_no_pings_is_lost():
    async def go() -> None:
        async def serve(reader, writer) -> None:
            writer.write(frame(FrameType.SETTINGS, 0, 0, b""))
            await reader.read()
            writer.close()

        listener = await asyncio.start_server(serve, "127.0.0.1", 0)
        lost: asyncio.Future = asyncio.get_running_loop().create_future()
        channel = await connect(
            listener.sockets[0].getsockname()[1],
            on_lost=lost.set_result,
            limits=Limits(keepalive_interval=0.1, keepalive_timeout=0.5),
        )
        ear = Ear()
        channel.open("/t/x", listener=ear)
        assert await ear.wait() == (14, "keepalive ping was not answered")
        await asyncio.wait_for(lost, 10)
        listener.close()

    run(go())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key", "-out", folder / "crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder


def test_client_certificate(certificate):
    async def go() -> None:
        pair = Pair()
        pair.server.unary("/t/Who", lambda call, body: call.reply(call.common_name.encode()))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificate / "crt")
        context.load_cert_chain(certificate / "crt", certificate / "key")
        context.verify_mode = ssl.CERT_OPTIONAL
        port = await pair.server.listen("127.0.0.1", 0, context)
        for own, name in ((False, b""), (True, b"localhost")):
            trust = ssl.create_default_context(cafile=certificate / "crt")
            if own:
                trust.load_cert_chain(certificate / "crt", certificate / "key")
            channel = await connect(port, ssl=trust)
            assert await channel.unary("/t/Who", b"", 10) == name
            channel.close()
        await pair.server.stop()

    run(go())


def test_tls(certificate):
    async def go() -> None:
        pair = Pair()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate / "crt", certificate / "key")
        port = await pair.server.listen("127.0.0.1", 0, context)
        trust = ssl.create_default_context(cafile=certificate / "crt")
        channel = await connect(port, ssl=trust, on_lost=pair.lost.set_result)
        assert await channel.unary("/t/Same", b"x" * 3_000_000, 20) == b"x" * 3_000_000
        with pytest.raises(EtcdError, match="cannot connect"):
            await connect(port, ssl=ssl.create_default_context())
        channel.close()
        await pair.server.stop()

    run(go())


def test_a_server_that_keeps_its_header_table_is_understood() -> None:
    class Listener:
        ended: tuple[int, str] | None = None

        def message(self, data: bytes) -> None: ...

        def finished(self, code: int, message: str) -> None:
            self.ended = (code, message)

    listener = Listener()
    connection = ClientConnection(Limits(), lambda: None, 0.0, authority="store:1")
    connection.receive(frame(FrameType.SETTINGS, 0, 0, b"") + frame(FrameType.SETTINGS, ACK, 0, b""), 0.0)
    call = connection.open("/service/method", (), listener, None)
    # hpack's encoder indexes what it sends, and announces no smaller table: as gRPC's core does after its ACK.
    head = [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "5"), ("grpc-message", "gone")]
    block = Encoder().encode(head)
    connection.receive(frame(FrameType.HEADERS, END_HEADERS | END_STREAM, call.stream_id, block), 0.0)
    assert connection.failed is None
    assert listener.ended == (5, "gone")
