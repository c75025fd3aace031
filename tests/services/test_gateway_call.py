"""The JSON gateway's calls and its reading of JSON, without a server."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from kvstore.errors import Code, EtcdError
from kvstore.pb import etcd_pb2 as pb
from kvstore.services.gateway import Gateway
from kvstore.services.gateway_call import INLINE_BYTES, GatewayCall
from kvstore.services.gateway_json import HTTP_STATUS, first_request, requests
from kvstore.wire.grpc.methods import Method
from kvstore.wire.http import Fields, HttpRequest
from kvstore.wire.link import HIGH_WATER


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """The test on a loop of its own."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


class Writer:
    """Carries a response to a list."""

    def __init__(self) -> None:
        self.status = 0
        self.parts: list[bytes] = []
        self.ended = False
        self.unsent = self.unsent_on_connection = 0

    def head(self, status: int, fields: Fields, *, length: int | None) -> None:
        assert not self.status
        self.status = status

    def body(self, data: bytes) -> None:
        assert not self.ended
        self.parts.append(data)

    def end(self) -> None:
        assert not self.ended
        self.ended = True

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in b"".join(self.parts).splitlines()]


class Stream:
    """A handler's stream that notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def message(self, data: bytes) -> None:
        self.heard.append(data)

    def half_close(self) -> None:
        self.heard.append("half_close")

    def closed(self) -> None:
        self.heard.append("closed")


def make(kind: Any, *, unary: bool, headers: dict[str, str] | None = None) -> tuple[GatewayCall, Writer, Stream]:
    writer, stream = Writer(), Stream()
    request = HttpRequest(writer, "POST", "/v3/x", headers or {}, b"", "client:1")
    method = Method("/a/B", (lambda call, message: None) if unary else None, None if unary else lambda call: stream)
    threads = ThreadPoolExecutor(1)
    call = GatewayCall(request, method, kind, (), asyncio.get_running_loop(), threads)
    if not unary:
        call.run([])
    return call, writer, stream


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


def answer(size: int, revision: int) -> bytes:
    header = pb.ResponseHeader(revision=revision)
    return pb.RangeResponse(header=header, kvs=[pb.KeyValue(value=b"x" * size)]).SerializeToString()


@in_loop
async def test_answers_keep_their_order_whether_long_or_short() -> None:
    call, writer, stream = make(pb.RangeResponse, unary=False)
    sizes = [1, INLINE_BYTES * 4, 1, INLINE_BYTES * 2, 1, 1]
    for number, size in enumerate(sizes):
        call.send(answer(size, number + 1))
    assert len(writer.parts) == 1, "what follows a long answer waits for it"
    assert call.buffered > INLINE_BYTES
    call.finish()
    assert call.closed
    assert not writer.ended
    await until(lambda: writer.ended)
    assert [int(line["result"]["header"]["revision"]) for line in writer.lines] == [1, 2, 3, 4, 5, 6]
    assert stream.heard == ["half_close", "closed"]
    assert call.buffered == 0


@in_loop
async def test_an_error_comes_behind_what_was_sent() -> None:
    call, writer, _ = make(pb.RangeResponse, unary=False)
    call.send(answer(INLINE_BYTES * 4, 7))
    call.fail(Code.UNAVAILABLE, "etcdserver: no leader")
    await until(lambda: writer.ended)
    assert writer.status == 200
    assert writer.lines[0]["result"]["header"]["revision"] == "7"
    assert writer.lines[1]["error"]["message"] == "etcdserver: no leader"
    assert writer.lines[1]["error"]["grpc_code"] == 14
    assert writer.lines[1]["error"]["http_code"] == 503
    assert writer.lines[1]["error"]["http_status"] == "Service Unavailable"


@in_loop
async def test_an_error_before_anything_is_the_status() -> None:
    for unary in (True, False):
        call, writer, _ = make(pb.RangeResponse, unary=unary)
        call.fail(Code.PERMISSION_DENIED, "etcdserver: permission denied")
        assert (writer.status, writer.ended) == (403, True)
    assert HTTP_STATUS.keys() == set(Code)


@in_loop
async def test_a_call_ends_once() -> None:
    call, writer, stream = make(pb.RangeResponse, unary=False)
    call.finish()
    call.send(answer(1, 1))
    call.fail(Code.INTERNAL, "late")
    call.reply(b"")
    call.finish()
    assert (writer.status, writer.parts, writer.ended) == (200, [], True)
    assert stream.heard == ["half_close", "closed"]
    assert sum(call._method.handled) == 1


@in_loop
async def test_a_client_that_goes_away_ends_the_call() -> None:
    call, _, stream = make(pb.RangeResponse, unary=False)
    gone: list[str] = []
    call.on_closed = lambda: gone.append("gone")
    call._request.drop()
    assert call.closed
    assert gone == ["gone"]
    assert stream.heard == ["half_close", "closed"]
    assert call._method.handled[Code.CANCELED] == 1


@in_loop
async def test_senders_wait_only_where_they_will_be_told_to_go_on() -> None:
    """The transport says nothing of what is below its high-water mark."""
    call, writer, _ = make(pb.RangeResponse, unary=False)
    drained: list[str] = []
    call.on_drain = lambda: drained.append("drained")
    writer.unsent = HIGH_WATER
    assert call.buffered == 0
    writer.unsent = HIGH_WATER + 1
    assert call.buffered == HIGH_WATER + 1
    call._request.drained()
    assert not drained
    writer.unsent = 10
    call._request.drained()
    assert drained == ["drained"]


@in_loop
async def test_senders_are_told_when_the_thread_has_made_their_answers() -> None:
    call, writer, _ = make(pb.RangeResponse, unary=False)
    drained: list[str] = []
    call.on_drain = lambda: drained.append("drained")
    call.send(answer(INLINE_BYTES * 2, 1))
    assert call.buffered
    await until(lambda: bool(drained))
    assert len(writer.lines) == 1


@in_loop
async def test_an_answer_that_is_none_ends_the_response(caplog: pytest.LogCaptureFixture) -> None:
    call, writer, _ = make(pb.RangeResponse, unary=False)
    call.send(b"\xff" * INLINE_BYTES * 2)
    await until(lambda: writer.ended)
    assert writer.status == 500
    assert "could not be made into JSON" in caplog.text


@in_loop
async def test_metadata_is_what_grpc_gateway_passes_on() -> None:
    headers = {
        "authorization": "Bearer t",
        "grpc-metadata-token": "u",
        "grpc-metadata-hasleader": "true",
        "cookie": "c",
    }
    call, _, _ = make(pb.RangeResponse, unary=True, headers=headers)
    assert call.metadata == {"authorization": "Bearer t", "token": "u", "hasleader": "true"}
    assert call.common_name == ""


# ---- JSON


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", pb.PutRequest()),
        ("null", pb.PutRequest()),
        ("{}", pb.PutRequest()),
        (' {"key":"YQ=="}\n', pb.PutRequest(key=b"a")),
        ('{"key":"YQ==","lease":"9223372036854775807"}', pb.PutRequest(key=b"a", lease=2**63 - 1)),
        ('{"key":null,"prevKv":true}', pb.PutRequest(prev_kv=True)),
        ('{"key":"YQ==","new_in_4.0":[{"a":1}]}', pb.PutRequest(key=b"a")),
        ('{"key":"YQ=="}{"key":"Yg=="}', pb.PutRequest(key=b"a")),
    ],
)
def test_requests_that_are_read(text: str, expected: pb.PutRequest) -> None:
    assert first_request(pb.PutRequest, text.encode()) == expected


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "Expecting"),
        (b"[]", "an object is expected"),
        (b"5", "an object is expected"),
        (b"\xff", "not UTF-8"),
        (b'{"key":"a"}', "key: illegal base64"),
        (b'{"key":"a b="}', "key: illegal base64"),
        (b'{"key":"plain text!"}', "key: illegal base64"),
        (b'{"key":["YQ=="]}', ""),
        (b'{"key":{"a":1}}', "a base64 string is expected"),
        (b'{"lease":"9223372036854775808"}', ""),
        (b'{"lease":1.5}', ""),
        (b'{"lease":"nonsense"}', ""),
        (b'{"prev_kv":"yes"}', ""),
        (b"[" * 100_000, ""),
        (b'{"a":' * 100_000, ""),
    ],
)
def test_requests_that_are_none(body: bytes, words: str) -> None:
    with pytest.raises(EtcdError) as refused:
        first_request(pb.PutRequest, body)
    assert refused.value.code == Code.INVALID_ARGUMENT
    assert words in refused.value.message


@pytest.mark.parametrize(
    "body",
    [
        b'{"success":[{"request_put":{"key":"?"}}]}',
        b'{"success":[{"requestPut":{"key":"?"}}]}',
        b'{"success":[{"request_txn":{"failure":[{"request_range":{"key":"?"}}]}}]}',
        b'{"compare":[{"target":"NOTHING"}]}',
        b'{"compare":[{"result":"nothing"}]}',
    ],
)
def test_values_are_checked_at_any_depth(body: bytes) -> None:
    with pytest.raises(EtcdError):
        first_request(pb.TxnRequest, body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"compare":["junk"]}',
        b'{"compare":[5]}',
        b'{"success":["junk"]}',
        b'{"success":[["junk"]]}',
        b'{"success":"junk"}',
        b'{"success":[{"requestPut":"junk"}]}',
        b'{"success":[{"request_put":""}]}',
        b'{"success":[{"request_put":["junk"]}]}',
        b'{"success":[{"request_put":[{"key":"YQ=="}]}]}',
        b'{"success":[{"request_put":[]}]}',
        b'{"success":[{"request_put":7}]}',
        b'{"success":[{"request_put":false}]}',
    ],
)
def test_what_is_to_be_a_message_is_an_object(body: bytes) -> None:
    """An empty message would be another request than the one that was meant."""
    with pytest.raises(EtcdError) as refused:
        first_request(pb.TxnRequest, body)
    assert refused.value.code == Code.INVALID_ARGUMENT


def test_null_is_a_field_that_is_not_there() -> None:
    assert first_request(pb.TxnRequest, b'{"compare":null,"success":[]}') == pb.TxnRequest()
    found = first_request(pb.TxnRequest, b'{"success":[{"request_put":null}]}')
    assert found == pb.TxnRequest(success=[pb.RequestOp()])


def test_several_messages_in_one_body() -> None:
    found = list(requests(pb.LeaseKeepAliveRequest, b'{"ID":"1"}\n {"ID":2}{"ID":"3"} '))
    assert found == [pb.LeaseKeepAliveRequest(ID=number) for number in (1, 2, 3)]


def test_a_call_that_lasts_does_not_keep_its_body() -> None:
    """A connection may have thousands of them."""
    server: Any = SimpleNamespace(methods={"/etcdserverpb.Watch/Watch": Method("/w", None, lambda call: Stream())})
    member: Any = SimpleNamespace(loop=None)
    body = b'{"create_request":{"key":"YQ=="}}'
    request = HttpRequest(Writer(), "POST", "/v3/watch", {}, body, "x:1")
    assert Gateway(member, server).serve(request, ()) is None
    assert (request.closed, request.body) == (False, b"")
