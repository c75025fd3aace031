"""Bytes no honest peer would send: nothing raises out of the connection, nothing hangs, nothing grows without bound."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import time

import pytest
from harness.plan import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wire_peer import ECHO, LATER, PUT, QUIET, SETTINGS, SETTINGS_ACK, RawPeer, data, message, request_fields
from wire_site import running

from kvstore.wire.channel import Channel
from kvstore.wire.grpc.client_connection import ClientConnection
from kvstore.wire.grpc.status import literal, literal_block
from kvstore.wire.h2 import frames
from kvstore.wire.h2.connection import Connection
from kvstore.wire.limits import Limits, Rate

anything = settings(max_examples=examples(250), deadline=None, suppress_health_check=[HealthCheck.too_slow])

frame = st.builds(
    frames.frame,
    st.integers(0, 12),
    st.sampled_from([0, 1, 4, 5, 8, 0x0D, 0x20, 0x2D, 0xFF]),
    st.sampled_from([0, 0, 1, 1, 2, 3, 5, 7, 2**31 - 1, 2**32 - 1]),
    st.one_of(
        st.binary(max_size=60),
        st.sampled_from(
            [b"", b"\0" * 4, b"\0" * 5, b"\0" * 8, b"\x7f\xff\xff\xff", struct.pack(">HI", 4, 0), message(b"abc")]
        ),
        st.sampled_from(
            [literal_block([(k.encode(), v.encode()) for k, v in request_fields(p)]) for p in (PUT, ECHO, LATER)]
        ),
    ),
)


def consistent(connection: Connection) -> None:
    """What must hold whatever was received."""
    if connection.failed is not None:
        assert not connection.streams
        assert connection.unsent == 0
        assert getattr(connection, "partial", 0) == 0
    assert connection.unsent == sum(stream.buffered for stream in connection.streams.values())
    assert all(connection.streams.get(number) is stream for number, stream in connection.ready.items())
    assert 0 <= connection.recv_left <= connection.limits.connection_window
    assert len(connection._rest) <= connection.limits.max_frame + frames.HEAD_SIZE
    assert len(connection._resets) <= 1024


@anything
@given(st.lists(frame, max_size=30), st.booleans(), st.integers(0, 3))
def test_any_frames_to_the_server(sequence, greet, step):
    peer = RawPeer(greet=greet)
    for one in sequence:
        frames_back = peer.send(one, step=step)
        consistent(peer.connection)
        assert sum(len(f.payload) for f in frames_back) < 100_000
        for call in peer.calls:
            call.reply(b"later")
    peer.connection.tick(peer.now + 1_000)
    peer.take()
    peer.connection.lost("end")
    consistent(peer.connection)
    assert sum(m.started for m in peer.methods.by_path.values()) == sum(
        sum(m.handled) for m in peer.methods.by_path.values()
    )
    assert len(peer.deadlines) == 0
    # Every stream object that was made heard closed() once.
    kinds = [entry[0] for entry in peer.log]
    assert kinds.count("open") == kinds.count("closed")


class Ear:
    def __init__(self) -> None:
        self.ends = 0

    def message(self, data: bytes) -> None:
        assert not self.ends

    def finished(self, code: int, text: str) -> None:
        self.ends += 1


@anything
@given(st.lists(frame, max_size=30), st.booleans(), st.integers(0, 3))
def test_any_frames_to_the_client(sequence, greet, step):
    connection = ClientConnection(QUIET, lambda: None, 0.0, authority="x")
    if greet:
        connection.receive(SETTINGS + SETTINGS_ACK, 0.0)
    ears = [Ear() for _ in range(3)]
    calls = [connection.open("/a/B", (), ear, None) for ear in ears]
    for call in calls:
        call.send(b"x" * 100_000)
    for one in sequence:
        for at in range(0, len(one), step or len(one)):
            connection.receive(one[at : at + (step or len(one))], 0.0)
        connection.take_output()
        consistent(connection)
    connection.lost("end")
    assert [ear.ends for ear in ears] == [1, 1, 1]
    consistent(connection)


@anything
@given(st.binary(max_size=300), st.booleans())
def test_any_bytes(garbage, greet):
    peer = RawPeer(greet=greet)
    peer.send((b"" if greet else frames.PREFACE) + garbage)
    consistent(peer.connection)


def session(peer: RawPeer) -> bytes:
    """An ordinary client's bytes."""
    peer.encoder.header_table_size = 0
    pieces = [frames.PREFACE + SETTINGS + SETTINGS_ACK]
    for number in range(1, 12, 2):
        path = (PUT, ECHO, LATER)[number % 3]
        pieces.append(peer.headers(number, request_fields(path, grpc_timeout="4999877u", token="abc")))
        pieces.append(data(number, message(b"hello" * number), end=number % 4 == 1))
    pieces.append(frames.ping(b"12345678") + frames.window_update(0, 1_000) + frames.rst_stream(3, 8))
    return b"".join(pieces)


@anything
@given(st.integers(0, 2**32))
def test_mutated_sessions(seed):
    chance = random.Random(seed)
    peer = RawPeer(greet=False)
    wire = bytearray(session(peer))
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(wire))
        kind = chance.choice(["flip", "set", "cut", "double", "insert"])
        if kind == "flip":
            wire[at] ^= 1 << chance.randrange(8)
        elif kind == "set":
            wire[at] = chance.choice([0, 1, 0x7F, 0x80, 0xFF])
        elif kind == "cut":
            del wire[at : at + chance.randint(1, 20)]
        elif kind == "double":
            wire[at:at] = wire[at : at + chance.randint(1, 100)]
        else:
            wire[at:at] = chance.randbytes(chance.randint(1, 20))
    at = 0
    while at < len(wire):
        size = chance.choice([1, 5, 100, 10_000])
        peer.connection.receive(bytes(wire[at : at + size]), peer.now)
        at += size
        peer.take()
        consistent(peer.connection)
    peer.connection.lost("end")
    consistent(peer.connection)


def test_an_untouched_session_is_served():
    peer = RawPeer(greet=False)
    wire = session(peer)
    peer.send(wire)
    assert peer.connection.failed is None
    assert ("put", b"hello" * 9) in peer.log


LITERAL = literal_block([(k.encode(), v.encode()) for k, v in request_fields(ECHO)])

HALF = b"x" * 900

ATTACKS = {
    # One octet at a time, of a frame that never ends: only one frame may be held.
    "endless frame": lambda n: frames.head(16_384, 0, 0, 1) + b"x" * 10 if n == 0 else b"x" * 10,
    "headers without end": lambda n: frames.frame(1 if n == 0 else 9, 0, 1, literal(b"x", b"y" * 100)),
    "streams that never end": lambda n: frames.frame(1, 4, 2 * n + 1, LITERAL) + data(2 * n + 1, message(HALF)[:800]),
    "open and reset": lambda n: frames.frame(1, 4, 2 * n + 1, LITERAL) + frames.rst_stream(2 * n + 1, 8),
    "settings": lambda n: frames.frame(4, 0, 0, struct.pack(">HI", 4, n) * 100),
    "window updates": lambda n: frames.window_update(n > 1, 1) * 20 if n != 1 else frames.frame(1, 4, 1, LITERAL),
    "different headers": lambda n: frames.frame(1, 5, 2 * n + 1, LITERAL + literal(b"x", b"%d" % n + b"y" * 500)),
    "numbers that jump": lambda n: frames.frame(1, 5, 4 * n + 1, LITERAL),
    "pings": lambda n: frames.ping(b"12345678") * 50,
    "priorities": lambda n: frames.frame(2, 0, 2 * n + 1, bytes(5)) * 50,
}  # fmt: skip


# What costs us next to nothing is borne.
SURVIVE = {"window updates", "different headers", "numbers that jump"}


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_end_or_stay_small(name):
    """Five thousand rounds: the connection ends, or it holds little."""
    peer = RawPeer(Limits(keepalive_interval=0, max_concurrent_streams=100, resets=Rate(1_000, 100)))
    for number in range(5_000):
        peer.now += 0.0001
        peer.connection.receive(ATTACKS[name](number), peer.now)
        peer.connection.take_output()
        if peer.connection.failed:
            break
    connection = peer.connection
    consistent(connection)
    assert sum(map(len, connection.headers.known)) <= 64 * 1024
    assert len(connection.streams) <= 100
    assert len(connection._skipped) <= 64
    assert connection.partial <= 100 * 1_000
    assert (connection.failed is None) == (name in SURVIVE)


def test_a_live_server_survives_strangers():
    """Over real sockets: garbage, half requests, sudden resets. An honest client in between is served."""
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    with running(Limits(handshake_timeout=1)) as site:

        async def honest() -> None:
            channel = await Channel.connect("127.0.0.1", site.port, timeout=10)
            for number in range(20):
                assert await channel.unary("/test.Store/Same", b"%d" % number, 10) == b"%d" % number
            channel.close()

        strangers = []
        for _ in range(150):
            stranger = socket.create_connection(("127.0.0.1", site.port))
            strangers.append(stranger)
            wire = bytearray(session(RawPeer(greet=False)))
            wire[chance.randrange(len(wire))] ^= 0xFF
            opening = chance.choice(
                [bytes(wire), chance.randbytes(50), b"GET / HTTP/1.1\r\n", b"PRI * H", frames.PREFACE]
            )
            stranger.sendall(opening[: chance.randint(1, len(opening))])
            if chance.random() < 0.5:
                stranger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                stranger.close()
        asyncio.run(honest())
        # Those that never said enough are cut off; those that greeted properly may stay.
        deadline = time.monotonic() + 15
        while site.server.stats.connections > 60 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert site.server.stats.connections <= 60, f"seed {seed}"
        for stranger in strangers:
            stranger.close()
        while site.server.stats.connections and time.monotonic() < deadline:
            time.sleep(0.05)
        assert site.server.stats.connections == 0, f"seed {seed}"


def test_a_client_that_asks_and_never_reads():
    """It is not read from either, and the server's memory stays where it was."""
    limits = Limits(stall_timeout=1, max_unsent=8 * 1024 * 1024)
    with running(limits) as site:
        greedy = socket.create_connection(("127.0.0.1", site.port))
        greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer = RawPeer(greet=False)
        greedy.sendall(frames.PREFACE + SETTINGS + SETTINGS_ACK + frames.window_update(0, 2**31 - 1 - 65_535))
        fields = request_fields("/test.Store/Big")
        greedy.settimeout(0.2)
        number = 1
        try:
            for _ in range(20_000):
                greedy.sendall(peer.headers(number, fields) + data(number, message(b"60000"), end=True))
                number += 2
        except OSError:
            pass
        deadline = time.monotonic() + 15
        while site.server.stats.connections and time.monotonic() < deadline:
            time.sleep(0.05)
        assert site.server.stats.connections == 0
        assert site.server.stats.sent < 64 * 1024 * 1024
        greedy.close()
