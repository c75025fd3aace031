"""The links between members: one stream to each peer for what we say, one from each for what it says.

A message that cannot be delivered is dropped, as Raft expects of a network; nothing waits. A connection that breaks
is news: the other process may be gone, and Raft is told at once instead of finding out by a timeout.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Protocol

from kvstore.errors import Code, EtcdError
from kvstore.member.config import Address, parse_url
from kvstore.member.dial import Dialer
from kvstore.pb import raft_pb2
from kvstore.raft import codec
from kvstore.raft.types import Message
from kvstore.version import FLUYT_VERSION
from kvstore.wire.channel import Channel
from kvstore.wire.grpc.call import Call
from kvstore.wire.grpc.client_call import ClientCall
from kvstore.wire.server import GrpcServer

log = logging.getLogger(__name__)

STREAM_PATH = "/fluyt.raft.Raft/Stream"
# More than this waiting for a peer's socket: it is not keeping up, and Raft is better off sending again later.
MAX_BUFFERED = 32 * 1024 * 1024
CONNECT_SECONDS = 1.0
BACKOFF_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


class PeerEvents(Protocol):
    """What the member wants to know of its peers."""

    def received(self, messages: list[Message]) -> None:
        """Messages from a peer, in order."""

    def peer_connected(self, peer: int) -> None:
        """We can talk to it (again)."""

    def peer_lost(self, peer: int) -> None:
        """A connection from or to it broke."""

    def unreachable(self, peer: int) -> None:
        """A message to it was dropped."""


class PeerLinks:
    """All links of one member."""

    def __init__(self, cluster_id: int, member_id: int, events: PeerEvents, dialer: Dialer) -> None:
        self.cluster_id = cluster_id
        self.member_id = member_id
        self.events = events
        self.dialer = dialer
        self._links: dict[int, PeerLink] = {}
        self.sent_bytes: dict[int, int] = {}
        self.received_bytes: dict[int, int] = {}
        self.send_failures: dict[int, int] = {}

    def register(self, server: GrpcServer) -> None:
        """Take peers' streams on the server of the peer port."""
        server.stream(STREAM_PATH, lambda call: _Inbound(self, call))

    def set_peers(self, peers: dict[int, list[str]]) -> None:
        """Keep a link to each of these members (id → peer URLs) and to no other."""
        for gone in set(self._links) - set(peers):
            self._links.pop(gone).close()
        for peer, urls in peers.items():
            addresses = [parse_url(u, "initial-cluster") for u in urls]
            link = self._links.get(peer)
            if link is not None and link.addresses == addresses:
                continue
            if link is not None:
                link.close()
            self._links[peer] = PeerLink(self, peer, addresses)

    def send(self, messages: Iterable[Message]) -> None:
        """Send each message to the member it names; all for one member travel in one frame."""
        by_peer: dict[int, list[Message]] = {}
        for message in messages:
            by_peer.setdefault(message.to, []).append(message)
        for peer, batch in by_peer.items():
            link = self._links.get(peer)
            if link is None or not link.send(batch):
                self.send_failures[peer] = self.send_failures.get(peer, 0) + 1
                self.events.unreachable(peer)

    def connected(self) -> set[int]:
        """Peers that we can talk to now."""
        return {peer for peer, link in self._links.items() if link.up}

    def close(self) -> None:
        """End every link."""
        for link in self._links.values():
            link.close()
        self._links.clear()

    def hello(self, to: int) -> raft_pb2.Hello:
        """Who we are and whom we mean."""
        return raft_pb2.Hello(
            cluster_id=self.cluster_id, member_id=self.member_id, to_member_id=to, version=FLUYT_VERSION
        )


class PeerLink:
    """Our side of the link to one peer: connects, says hello, sends; connects again when it breaks."""

    def __init__(self, links: PeerLinks, peer: int, addresses: list[Address]) -> None:
        self._links = links
        self._peer = peer
        self.addresses = addresses
        self._call: ClientCall | None = None
        self._lost: asyncio.Event = asyncio.Event()
        self.up = False
        self._said = ""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"peer-{peer:x}")

    def send(self, messages: list[Message]) -> bool:
        """False if the messages were dropped."""
        call = self._call
        if call is None or call.buffered > MAX_BUFFERED:
            return False
        frame = codec.encode_frame(messages)
        self._links.sent_bytes[self._peer] = self._links.sent_bytes.get(self._peer, 0) + len(frame)
        call.send(frame)
        return True

    def close(self) -> None:
        """End the link for good."""
        self._task.cancel()

    async def _run(self) -> None:
        failures = 0
        while True:
            for address in self.addresses:
                if await self._attempt(address):
                    failures = 0
            await asyncio.sleep(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)])
            failures += 1

    async def _attempt(self, address: Address) -> bool:
        """One connection from its beginning to its end; True if it was up."""
        self._lost.clear()
        channel: Channel | None = None
        try:
            channel = await self._links.dialer.connect(
                address, timeout=CONNECT_SECONDS, on_lost=lambda problem: self._lost.set()
            )
            call = channel.open(STREAM_PATH, listener=self)
            call.send(raft_pb2.Frame(hello=self._links.hello(self._peer)).SerializeToString())
            self._call = call
            await self._lost.wait()
        except (OSError, EtcdError, TimeoutError) as problem:
            self._say(f"cannot reach peer {self._peer:x} at {address}: {problem}")
        finally:
            self._call = None
            if channel is not None:
                channel.close()
        was_up, self.up = self.up, False
        if was_up:
            self._say(f"lost peer {self._peer:x} at {address}")
            self._links.events.peer_lost(self._peer)
        return was_up

    def message(self, data: bytes) -> None:
        """The peer's hello: it knows us and takes what we send."""
        if not self.up:
            self.up = True
            self._say(f"connected to peer {self._peer:x}")
            self._links.events.peer_connected(self._peer)

    def finished(self, code: int, message: str) -> None:
        """The peer ended the stream: it is stopping, or it refuses us."""
        if message:
            self._say(f"peer {self._peer:x} ended our stream: {message}")
        self._lost.set()

    def _say(self, text: str) -> None:
        """Log a change once, not every attempt."""
        if text != self._said:
            self._said = text
            log.info("%s", text)


class _Inbound:
    """A peer's stream to us."""

    def __init__(self, links: PeerLinks, call: Call) -> None:
        self._links = links
        self._call = call
        self._peer = 0

    def message(self, data: bytes) -> None:
        try:
            frame = raft_pb2.Frame.FromString(data)
        except Exception as problem:  # protobuf's DecodeError; the stream is of no use any more
            self._call.fail(Code.INVALID_ARGUMENT, f"peer frame cannot be decoded: {problem}")
            return
        if not self._peer:
            self._greet(frame.hello)
            return
        received = self._links.received_bytes
        received[self._peer] = received.get(self._peer, 0) + len(data)
        self._links.events.received([codec.message_from_pb(m) for m in frame.messages])

    def _greet(self, hello: raft_pb2.Hello) -> None:
        links = self._links
        if hello.cluster_id != links.cluster_id:
            self._refuse(
                hello,
                f"cluster ID mismatch: this member is of cluster {links.cluster_id:x}, the peer of"
                f" {hello.cluster_id:x}; check --initial-cluster and --initial-cluster-token of both",
            )
        elif hello.to_member_id != links.member_id:
            self._refuse(
                hello,
                f"this is member {links.member_id:x}, not {hello.to_member_id:x}; its data directory was replaced",
            )
        else:
            self._peer = hello.member_id
            self._call.send(raft_pb2.Frame(hello=links.hello(hello.member_id)).SerializeToString())

    def _refuse(self, hello: raft_pb2.Hello, reason: str) -> None:
        log.warning("refused peer %x: %s", hello.member_id, reason)
        self._call.fail(Code.FAILED_PRECONDITION, reason)

    def half_close(self) -> None:
        self._call.finish()

    def closed(self) -> None:
        if self._peer:
            self._links.events.peer_lost(self._peer)
