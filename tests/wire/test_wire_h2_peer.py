"""python-hyper's h2 as the peer in memory: a strict judge of every frame we write, in both roles."""

from __future__ import annotations

import random

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from wire_peer import ECHO, LATER, PUT, QUIET, RawPeer, message, request_fields

from kvstore.wire.grpc.client_connection import ClientConnection

CODES = h2.settings.SettingCodes


class H2Client:
    """h2 as the client of a ServerConnection."""

    def __init__(self, **settings: int) -> None:
        self.peer = RawPeer(QUIET, greet=False)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        if settings:
            values = {getattr(CODES, name): value for name, value in settings.items()}
            self.h2.local_settings = h2.settings.Settings(client=True, initial_values=values)
        self.h2.initiate_connection()
        self.events: list = []
        self.bodies: dict[int, bytes] = {}
        self.ends: dict[int, dict[str, str]] = {}
        self.exchange()

    def exchange(self, step: int = 0) -> None:
        """Carry bytes both ways until neither has more to say."""
        while True:
            there = self.h2.data_to_send()
            for at in range(0, len(there), step or len(there) or 1):
                self.peer.connection.receive(there[at : at + (step or len(there))], self.peer.now)
            back = b"".join(self.peer.connection.take_output())
            if self.peer.connection.has_more:
                self.peer.connection.pump()
            if not there and not back:
                return
            for event in self.h2.receive_data(back):
                self.hear(event)

    def hear(self, event) -> None:
        self.events.append(event)
        if isinstance(event, h2.events.DataReceived):
            self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + event.data
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
            self.ends.setdefault(event.stream_id, {}).update(dict(event.headers))

    def call(self, path: str, body: bytes) -> int:
        number = self.h2.get_next_available_stream_id()
        self.h2.send_headers(number, request_fields(path))
        left = message(body)
        while left:
            room = min(self.h2.local_flow_control_window(number), self.h2.max_outbound_frame_size, len(left))
            self.h2.send_data(number, left[:room])
            left = left[room:]
            self.exchange()
        self.h2.end_stream(number)
        return number


@pytest.mark.parametrize("step", [0, 1, 10])
@pytest.mark.parametrize("size", [0, 1, 16_379, 16_380, 200_000, 1_500_000])
def test_unary(size, step):
    if step and size > 200_000:
        step = 1_000
    client = H2Client()
    body = random.Random(size).randbytes(size)
    for _ in range(3):
        number = client.call(PUT, body)
        client.exchange(step)
        assert client.bodies[number] == message(b"ok:" + body)
        assert client.ends[number] == {":status": "200", "content-type": "application/grpc", "grpc-status": "0"}


@pytest.mark.parametrize(
    "settings",
    [
        {"INITIAL_WINDOW_SIZE": 1},
        {"INITIAL_WINDOW_SIZE": 0},
        {"MAX_FRAME_SIZE": 30_000},
        {"HEADER_TABLE_SIZE": 0},
        {"HEADER_TABLE_SIZE": 65_536},
        {"HEADER_TABLE_SIZE": 100, "INITIAL_WINDOW_SIZE": 20_000},
    ],
    ids=str,
)
def test_settings_of_the_client(settings):
    client = H2Client(**settings)
    numbers = [client.call(PUT, b"x" * 1_000) for _ in range(5)]
    client.exchange()
    if settings.get("INITIAL_WINDOW_SIZE") == 0:
        assert not client.bodies
        client.h2.update_settings({CODES.INITIAL_WINDOW_SIZE: 100_000})
        client.exchange()
    for number in numbers:
        assert client.bodies[number] == message(b"ok:" + b"x" * 1_000)
        assert client.ends[number]["grpc-status"] == "0"


def test_settings_change_while_answers_wait():
    client = H2Client()
    client.h2.update_settings({CODES.INITIAL_WINDOW_SIZE: 10, CODES.HEADER_TABLE_SIZE: 0})
    number = client.call(LATER, b"")
    client.exchange()
    (call,) = client.peer.calls
    call.send(b"x" * 500)
    client.h2.update_settings({CODES.INITIAL_WINDOW_SIZE: 5})
    client.exchange()
    call.reply(b"y")
    client.exchange()
    client.h2.update_settings({CODES.INITIAL_WINDOW_SIZE: 1_000})
    client.exchange()
    assert client.bodies[number] == message(b"x" * 500) + message(b"y")


def test_stream_with_trailers_from_the_client():
    client = H2Client()
    client.h2.send_headers(1, request_fields(ECHO))
    client.h2.send_data(1, message(b"a") + message(b"b"), pad_length=7)
    client.h2.send_headers(1, [("checksum", "1")], end_stream=True)
    client.exchange()
    assert client.bodies[1] == message(b"a") + message(b"b")
    assert client.ends[1]["grpc-status"] == "0"


def test_ping_priority_and_reset():
    client = H2Client()
    client.h2.ping(b"12345678")
    client.h2.send_headers(1, request_fields(ECHO), priority_weight=20, priority_depends_on=0)
    client.h2.prioritize(1, weight=5)
    client.h2.reset_stream(1)
    client.exchange()
    assert any(isinstance(e, h2.events.PingAckReceived) and e.ping_data == b"12345678" for e in client.events)
    assert client.peer.log[-1] == ("closed",)
    number = client.call(PUT, b"x")
    client.exchange()
    assert client.ends[number]["grpc-status"] == "0"


def test_a_long_header_list_uses_continuation():
    client = H2Client()
    client.h2.send_headers(1, [*request_fields(), ("x", "y" * 40_000)])
    client.h2.send_data(1, message(b"x"), end_stream=True)
    client.exchange()
    assert client.ends[1]["grpc-status"] == "0"


def test_our_long_trailers_use_continuation():
    client = H2Client()
    client.call(LATER, b"")
    client.exchange()
    client.peer.calls[0].fail(2, "x" * 40_000)
    client.exchange()
    assert client.ends[1]["grpc-message"] == "x" * 40_000


def test_early_end_tells_the_client_to_stop():
    client = H2Client()
    client.h2.send_headers(1, request_fields("/nowhere/Nope"))
    client.exchange()
    assert client.ends[1]["grpc-status"] == "12"
    (reset,) = [e for e in client.events if isinstance(e, h2.events.StreamReset)]
    assert reset.error_code == 0


def test_leave():
    client = H2Client()
    client.call(LATER, b"")
    client.exchange()
    client.peer.connection.leave()
    # h2 takes the first GOAWAY for the end of everything, so it does not see what follows.
    notice = client.peer.connection.take_output()[0]
    (event,) = client.h2.receive_data(bytes(notice))
    assert isinstance(event, h2.events.ConnectionTerminated)
    assert (event.error_code, event.last_stream_id) == (0, 2**31 - 1)


@pytest.mark.parametrize("seed", range(10))
def test_any_mixture(seed):
    """Calls of all kinds, settings, pings and resets at random: h2 finds no fault and every answer is right."""
    chance = random.Random(seed)
    client = H2Client(INITIAL_WINDOW_SIZE=chance.choice([100, 5_000, 65_535]))
    expected: dict[int, bytes] = {}
    for _ in range(120):
        action = chance.choice(["put", "put", "put", "echo", "later", "settings", "ping", "reset", "answer"])
        body = chance.randbytes(chance.choice([0, 3, 700, 20_000]))
        if action == "put":
            expected[client.call(PUT, body)] = message(b"ok:" + body)
        elif action == "echo":
            expected[client.call(ECHO, body)] = message(body)
        elif action == "later":
            number = client.call(LATER, b"")
            client.exchange()
            client.peer.calls[-1].body = expected[number] = message(body)
        elif action == "settings":
            client.h2.update_settings({CODES.INITIAL_WINDOW_SIZE: chance.choice([1_000, 65_535, 200_000])})
        elif action == "ping":
            client.h2.ping(b"abcdefgh")
        elif action == "reset" and client.peer.calls:
            call = client.peer.calls.pop(chance.randrange(len(client.peer.calls)))
            if not call.closed:
                client.h2.reset_stream(call.stream_id)
                del expected[call.stream_id]
        elif action == "answer":
            answer(client, chance)
        if chance.random() < 0.5:
            client.exchange(chance.choice([0, 1, 100]) if chance.random() < 0.2 else 0)
    while client.peer.calls:
        answer(client, chance)
        client.exchange()
    client.h2.update_settings({CODES.INITIAL_WINDOW_SIZE: 1_000_000})
    client.exchange()
    for number, body in expected.items():
        assert client.bodies.get(number, b"") == body, f"seed {seed}, stream {number}"
        assert client.ends[number]["grpc-status"] == "0"
    assert not client.peer.connection.streams


def answer(client: H2Client, chance: random.Random) -> None:
    if client.peer.calls:
        call = client.peer.calls.pop(chance.randrange(len(client.peer.calls)))
        call.reply(call.body[5:])


class Ear:
    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.end: list[tuple[int, str]] = []

    def message(self, data: bytes) -> None:
        self.messages.append(data)

    def finished(self, code: int, text: str) -> None:
        self.end.append((code, text))


class H2Server:
    """h2 as the server of a ClientConnection; `script(event)` answers."""

    def __init__(self) -> None:
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.client = ClientConnection(QUIET, lambda: None, 0.0, authority="test:1")
        self.requests: dict[int, dict[str, str]] = {}
        self.bodies: dict[int, bytes] = {}
        self.resets: dict[int, int] = {}
        self.exchange()

    def exchange(self) -> None:
        while True:
            there = b"".join(self.client.take_output())
            if self.client.has_more:
                self.client.pump()
            for event in self.h2.receive_data(there):
                self.hear(event)
            back = self.h2.data_to_send()
            if not there and not back:
                return
            self.client.receive(back, 0.0)

    def hear(self, event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self.requests[event.stream_id] = dict(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + event.data
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            self.resets[event.stream_id] = event.error_code

    def open(self, body: bytes | None = b"hi", **options) -> Ear:
        ear = Ear()
        self.call = self.client.open("/t/Call", options.get("metadata", ()), ear, options.get("timeout"))
        if body is not None:
            self.call.send(body)
            self.call.half_close()
        self.exchange()
        return ear


HEAD = [(":status", "200"), ("content-type", "application/grpc")]


def test_request_of_the_client():
    server = H2Server()
    server.open(b"x" * 200_000, metadata=[("token", "abc"), ("a-bin", b"\0\1")], timeout=1.5)
    assert server.requests[1] == {
        ":method": "POST",
        ":scheme": "http",
        ":authority": "test:1",
        ":path": "/t/Call",
        "content-type": "application/grpc",
        "te": "trailers",
        "grpc-timeout": "1500000u",
        "token": "abc",
        "a-bin": "AAE",
    }
    assert server.bodies[1] == message(b"x" * 200_000)


def test_answer_to_the_client():
    server = H2Server()
    ear = server.open()
    server.h2.send_headers(1, [(":status", "103"), ("link", "x")])
    server.h2.send_headers(1, HEAD)
    server.h2.send_data(1, message(b"a") + message(b"b")[:2])
    server.h2.send_data(1, message(b"b")[2:])
    server.exchange()
    assert ear.messages == [b"a", b"b"]
    assert ear.end == []
    server.h2.send_headers(1, [("grpc-status", "9"), ("grpc-message", "50%25 %C3%BC %zz")], end_stream=True)
    server.exchange()
    assert ear.end == [(9, "50% ü %zz")]
    assert not server.client.streams


@pytest.mark.parametrize(
    ("head", "trailers", "expected"),
    [
        ([*HEAD, ("grpc-status", "5"), ("grpc-message", "no")], None, (5, "no")),
        (HEAD, None, (2, "server sent no grpc-status")),
        (HEAD, [("x", "y")], (2, "server sent no grpc-status")),
        (HEAD, [("grpc-status", "99")], (2, "")),
        (HEAD, [("grpc-status", "x"), ("grpc-message", "m")], (2, "m")),
        ([(":status", "503")], None, (14, "unexpected HTTP status 503 without a gRPC status")),
        (
            [(":status", "404"), ("content-type", "text/html")],
            None,
            (12, "unexpected HTTP status 404 without a gRPC status"),
        ),
        (
            [(":status", "200"), ("content-type", "text/html")],
            None,
            (2, "unexpected HTTP status 200 without a gRPC status"),
        ),
    ],
)
def test_how_calls_end(head, trailers, expected):
    server = H2Server()
    ear = server.open()
    server.h2.send_headers(1, head, end_stream=trailers is None)
    if trailers is not None:
        server.h2.send_headers(1, trailers, end_stream=True)
    server.exchange()
    assert ear.end == [expected]
    assert not server.client.streams
    assert server.client.failed is None


def test_data_with_end_stream_is_no_end():
    server = H2Server()
    ear = server.open()
    server.h2.send_headers(1, HEAD)
    server.h2.send_data(1, message(b"x"), end_stream=True)
    server.exchange()
    assert ear.end == [(13, "server closed the stream without trailers")]


def test_server_ends_before_the_client():
    server = H2Server()
    ear = server.open(None)
    server.h2.send_headers(1, [*HEAD, ("grpc-status", "14")], end_stream=True)
    server.exchange()
    assert ear.end == [(14, "")]
    assert server.resets == {1: 0}
    server.call.send(b"late")
    assert server.client.take_output() == []


@pytest.mark.parametrize(("code", "status"), [(7, 14), (8, 1), (11, 8), (2, 13), (0, 13)])
def test_resets_of_the_server(code, status):
    server = H2Server()
    ear = server.open()
    server.h2.reset_stream(1, code)
    server.exchange()
    assert [end[0] for end in ear.end] == [status]


def test_goaway_refuses_what_the_server_will_not_do():
    server = H2Server()
    ears = [server.open(None), server.open(None)]
    server.h2.close_connection(0, b"bye", last_stream_id=1)
    server.exchange()
    assert ears[0].end == []
    assert ears[1].end[0][0] == 14
    assert "bye" in server.client.going
    assert server.client.failed is None


def test_cancel_resets():
    server = H2Server()
    ear = server.open(None)
    server.call.cancel()
    server.exchange()
    assert ear.end == [(1, "canceled by the caller")]
    assert server.resets == {1: 8}
