"""The benchmark's renewals: each one that it counts was answered with a TTL, by our store and by etcd's."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest
from harness.cluster import ClusterFactory
from hypothesis import given
from hypothesis import strategies as st
from raw_server import feed, served
from support.bench.load import frames
from support.bench.load.link import drive
from support.bench.load.renewals import Renewals

from kvstore.pb.etcd_pb2 import LeaseGrantRequest, LeaseKeepAliveRequest, LeaseKeepAliveResponse, ResponseHeader

TTL, STREAMS, LEASES = 600, 5, 20
HEADS = b"".join(frames.frame(frames.HEADERS, frames.END_HEADERS, 2 * n + 1, b"\x88") for n in range(STREAMS))
PING = frames.frame(frames.PING, 0, 0, b"12345678")
WINDOW = frames.frame(frames.WINDOW, 0, 0, b"\0\0\1\0")


def split(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """(kind, payload) of each frame; the octets end with one."""
    at = 0
    while at < len(octets):
        end = at + 9 + int.from_bytes(octets[at : at + 3], "big")
        assert end <= len(octets)
        yield octets[at + 3], octets[at + 9 : end]
        at = end


class Recorded:
    """A socket, and all that went through it."""

    def __init__(self, real: socket.socket) -> None:
        self.real = real
        self.received, self.sent = b"", b""
        self.fileno, self.close = real.fileno, real.close

    def recv(self, size: int) -> bytes:
        octets = self.real.recv(size)
        self.received += octets
        return octets

    def sendall(self, octets: bytes) -> None:
        self.sent += octets
        self.real.sendall(octets)


@pytest.mark.parametrize("kind", ["fluyt", "etcd-3.5"])
def test_every_renewal_that_is_counted_was_answered_with_a_ttl(new_cluster: ClusterFactory, kind: str) -> None:
    cluster = new_cluster(kind, members=1)
    leases = [1_000_001 + n for n in range(LEASES)]
    for lease in leases:
        cluster.stub().LeaseGrant(LeaseGrantRequest(TTL=TTL, ID=lease), timeout=10)
    for depth in (1, 4):
        link = Renewals(cluster.endpoints[0], leases, STREAMS, 0.3, depth)
        link.socket = recorded = Recorded(link.socket)  # type: ignore[assignment]
        try:
            drive([link])
        finally:
            link.close()
        payloads = [payload for kind_, payload in split(recorded.received) if kind_ == frames.DATA]
        answers = [LeaseKeepAliveResponse.FromString(payload[5:]) for payload in payloads]
        asked = [payload for kind_, payload in split(recorded.sent) if kind_ == frames.DATA]
        assert link.answered == len(answers) == len(asked) > STREAMS * depth
        assert {answer.TTL for answer in answers} == {TTL}
        ids = [LeaseKeepAliveRequest.FromString(payload[5:]).ID for payload in asked]
        assert sorted(answer.ID for answer in answers) == sorted(ids), "each that was asked for, and no other"
        assert set(ids) == set(leases) or len(ids) < 2 * LEASES


def against_the_test(depth: int = 1) -> AbstractContextManager[tuple[Renewals, socket.socket]]:
    """A link to this test, which plays the server."""
    return served(lambda endpoint: Renewals(endpoint, range(1, LEASES + 1), STREAMS, 1e9, depth))


def answer(stream: int, ttl: int = TTL, revision: int = 7) -> bytes:
    header = ResponseHeader(cluster_id=1 << 63, member_id=2, revision=revision, raft_term=3)
    return frames.data(stream, LeaseKeepAliveResponse(header=header, ID=1, TTL=ttl).SerializeToString(), last=False)


ANSWERS = [answer(2 * n + 1) for n in range(STREAMS)]
# Longer and shorter ones, and what servers say of themselves.
ROUND = [*ANSWERS, PING, *ANSWERS[:2], answer(1, revision=1 << 40), WINDOW, answer(1, TTL + 1), *ANSWERS, PING, WINDOW]


@given(st.permutations(ROUND), st.lists(st.integers(0, 1200), max_size=6))
def test_however_they_come_all_are_counted(order: list[bytes], cuts: list[int]) -> None:
    octets = HEADS + b"".join([*ANSWERS, *order, *ANSWERS])
    with against_the_test(depth=8) as (link, server):
        feed(link, server, octets, cuts)
        assert link.answered == 5 * 4 + 2 + 2
        assert not link.done


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (answer(3, 0), "does not know a lease"),
        (answer(3)[:2] + b"\x05" + answer(3)[3:14], "in pieces"),
        (frames.data(3, b"\xff\xff\xff", last=False), "does not answer a renewal"),
        (frames.data(3, LeaseKeepAliveResponse(ID=1, TTL=2).SerializeToString() + b"\x28\x01", last=False), "behind"),
        (frames.frame(frames.HEADERS, frames.END_STREAM | frames.END_HEADERS, 3, b"\x88"), "ended a stream"),
        (frames.frame(frames.RST, 0, 3, bytes(4)), "ended a stream"),
    ],
)
@pytest.mark.parametrize("before", [HEADS, HEADS + answer(1)])
def test_anything_else_is_an_error(octets: bytes, words: str, before: bytes) -> None:
    with against_the_test() as (link, server):
        server.sendall(before + answer(5))
        link.receive()
        server.sendall(octets)
        with pytest.raises(RuntimeError, match=words):
            link.receive()


def test_who_hangs_up_is_an_error() -> None:
    with against_the_test() as (link, server):
        server.close()
        with pytest.raises((RuntimeError, ConnectionResetError)):
            link.receive()
            link.receive()
