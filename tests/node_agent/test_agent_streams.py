"""SPDY/3.1 and kubectl's channels: bytes in, events and bytes out."""

from __future__ import annotations

import json
import struct

import pytest
from harness.plan import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from spdy_client import SpdyClient, control, data

from node_agent.streams import channels
from node_agent.streams.spdy import Data, GoingAway, Opened, Reset, SpdyError, SpdyServer

HEADERS = {"streamtype": "data", "port": "80", "requestid": "0"}


def test_streams_open_answer_and_end() -> None:
    server, client = SpdyServer(), SpdyClient()
    (opened,) = server.feed(client.open(1, HEADERS))
    assert opened == Opened(1, HEADERS, False)
    server.reply(1)
    server.send(1, b"x" * 70_000)
    server.send(1, b"!", end=True)
    client.feed(server.take())
    assert client.replied == [1]
    assert client.data[1] == b"x" * 70_000 + b"!"
    assert client.ended == {1}
    server.send(1, b"too late")
    assert server.take() == b""
    assert server.feed(data(1, b"still", fin=True)) == [Data(1, b"still", True)]
    assert server.feed(data(1, b"nothing more")) == []


def test_header_blocks_share_one_compression() -> None:
    server, client = SpdyServer(), SpdyClient()
    sent = b"".join(client.open(number, {**HEADERS, "port": str(number)}) for number in (1, 3, 5))
    assert [e.headers["port"] for e in server.feed(sent) if isinstance(e, Opened)] == ["1", "3", "5"]


def test_frames_may_arrive_in_pieces() -> None:
    server, client = SpdyServer(), SpdyClient()
    sent = client.open(1, HEADERS, fin=True) + control(6, struct.pack(">I", 7)) + control(9, b"\0" * 8)
    events = [event for at in range(len(sent)) for event in server.feed(sent[at : at + 1])]
    assert events == [Opened(1, HEADERS, True)]
    client.feed(server.take())
    assert client.pings == [7]


def test_resets_and_farewells() -> None:
    server, client = SpdyServer(), SpdyClient()
    server.feed(client.open(1, HEADERS))
    assert server.feed(control(3, struct.pack(">II", 1, 5))) == [Reset(1, 5)]
    assert server.feed(data(1, b"late")) == []
    assert server.feed(control(7, b"\0" * 8)) == [GoingAway()]
    server.feed(client.open(3, HEADERS))
    server.reset(3, 1)
    client.feed(server.take())
    assert client.reset == {3: 1}


def test_too_many_streams_are_refused_one_by_one() -> None:
    server, client = SpdyServer(), SpdyClient()
    for number in range(1, 2 * 1024 + 1, 2):
        server.feed(client.open(number, HEADERS))
    assert server.feed(client.open(4097, HEADERS)) == []
    client.feed(server.take())
    assert client.reset == {4097: 3}


@pytest.mark.parametrize(
    ("sent", "problem"),
    [
        (control(1, b"\0" * 4), "too short"),
        (control(1, struct.pack(">IIH", 1, 0, 0) + b"junk"), "cannot be decompressed"),
        (control(1, b"", version=2), "version 2"),
        (control(2, b"\0" * 8), "never opened"),
        (data(9, b"x"), "never opened"),
        (struct.pack(">II", 1, 0xFFFFFF), "a frame of"),
        (SpdyClient().open(2, HEADERS), "odd, growing"),
        (SpdyClient().open(1, {"a": "x" * 100_000}), "more than 65536"),
    ],
)
def test_breaches_end_the_connection(sent: bytes, problem: str) -> None:
    with pytest.raises(SpdyError, match=problem):
        SpdyServer().feed(sent)


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=60), st.builds(control, st.integers(0, 12), st.binary(max_size=40)))))
def test_nothing_but_a_spdy_error_comes_of_garbage(pieces: list[bytes]) -> None:
    server = SpdyServer()
    try:
        for piece in pieces:
            server.feed(piece)
    except SpdyError:
        pass


def test_channels() -> None:
    assert channels.read(b"\0abc", channels.V4) == channels.Input(b"abc")
    assert channels.read(b'\4{"Width":80,"Height":24}', channels.V5) == channels.Resize(80, 24)
    assert channels.read(b"\xff\0", channels.V5) == channels.InputEnds()
    assert channels.read(b"\xff\0", channels.V4) is None
    for nothing in (b"", b"\4{", b'\4{"Width":-1,"Height":1}', b"\4[]", b"\1x", b"\xff\1"):
        assert channels.read(nothing, channels.V5) is None


def test_the_end_of_a_command() -> None:
    assert json.loads(channels.ended(0))["status"] == "Success"
    failed = json.loads(channels.ended(7))
    assert failed["details"]["causes"] == [{"reason": "ExitCode", "message": "7"}]
    assert failed["reason"] == "NonZeroExitCode"
    assert json.loads(channels.failed("gone"))["message"] == "gone"
