"""Our own gRPC under the client: streams hold the store back, and what has ended says so."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from harness.ports import free_port

from kvstore.client import ClientError
from kvstore.client.channel import CallFailed, NotSent
from kvstore.client.rpcs import RANGE
from kvstore.client.settings import Settings
from kvstore.client.wire_channel import WireChannel, WireStream
from kvstore.errors import Code
from kvstore.pb import etcd_pb2 as pb
from kvstore.wire.channel import Channel


class FakeCall:
    """What a stream asks of its call, noted."""

    closed = False

    def __init__(self) -> None:
        self.asked: list[str] = []

    def open(self, path: str, metadata: Any, listener: Any) -> FakeCall:
        return self

    def __getattr__(self, name: str) -> Any:
        return lambda *_: self.asked.append(name)


def stream_of(call: FakeCall) -> WireStream:
    return WireStream(cast(Channel, call), "/path", pb.WatchResponse, ())


def test_a_stream_that_nobody_reads_holds_the_store_back() -> None:
    async def run() -> None:
        call = FakeCall()
        stream = stream_of(call)
        for number in range(20):
            stream.message(pb.WatchResponse(watch_id=number).SerializeToString())
        assert call.asked == ["pause"], "once, when enough waits"
        read = [(await stream.read()).watch_id for _ in range(12)]
        assert read == list(range(12))
        assert call.asked == ["pause", "resume"]

    asyncio.run(run())


def test_what_came_before_the_end_is_read_before_the_end() -> None:
    async def run() -> None:
        stream = stream_of(FakeCall())
        stream.message(pb.WatchResponse(watch_id=7).SerializeToString())
        stream.finished(Code.UNAVAILABLE, "it went away")
        assert (await stream.read()).watch_id == 7
        for step in (stream.read(), stream.write(pb.WatchRequest())):
            with pytest.raises(CallFailed) as failure:
                await step
            assert (failure.value.code, failure.value.message) == (Code.UNAVAILABLE, "it went away")

    asyncio.run(run())


def test_a_reader_that_waits_hears_the_end() -> None:
    async def run() -> None:
        stream = stream_of(FakeCall())
        reading = asyncio.create_task(stream.read())
        await asyncio.sleep(0)
        stream.finished(Code.OK, "")
        assert await reading is None

    asyncio.run(run())


def test_without_a_connection_nothing_was_sent() -> None:
    async def run() -> None:
        channel = WireChannel(f"127.0.0.1:{free_port()}", False, Settings())
        with pytest.raises(CallFailed) as failure:
            await channel.unary(RANGE, pb.RangeRequest(), 1.0, ())
        assert not failure.value.sent
        with pytest.raises(CallFailed):
            await channel.stream("/path", pb.WatchResponse, ()).read()
        both = await asyncio.gather(channel.connect(5.0), channel.connect(5.0), return_exceptions=True)
        assert [(type(problem), str(problem)) for problem in both] == [(NotSent, "connection refused")] * 2
        assert channel.broken
        assert not channel.ready
        await channel.close()
        with pytest.raises(ClientError, match="closed"):
            await channel.connect(1.0)

    asyncio.run(run())


def test_one_who_waits_for_a_connection_may_leave() -> None:
    async def run() -> None:
        server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        channel = WireChannel(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", False, Settings())
        with pytest.raises(NotSent, match=r"no connection within 0\.01 s"):
            await channel.connect(0.01)
        await channel.close()
        server.close()

    asyncio.run(run())
