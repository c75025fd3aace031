"""The links between members: one stream to each peer for what we say, one from each for what it says.

A message that cannot be delivered is dropped, as Raft expects of a network; nothing waits. A connection that breaks
is news: the other process may be gone, and Raft is told at once instead of finding out by a timeout.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from typing import Protocol

from kvstore.errors import Code, EtcdError
from kvstore.member.config import Address, parse_url
from kvstore.member.dial import Dialer
from kvstore.member.histogram import ROUND_TRIP_SECONDS, Histogram
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
PROBE_PATH = "/fluyt.raft.Raft/Probe"
# As often as etcd measures the way to a peer.
PROBE_SECONDS = 4.0
# More than this waiting for a peer's socket: it is not keeping up, and Raft is better off sending again later.
MAX_BUFFERED = 32 * 1024 * 1024
CONNECT_SECONDS = 1.0
# What a stream of a member that was removed ends with; it stops when it hears it.
REMOVED = Code.NOT_FOUND
REMOVED_TEXT = "the member has been permanently removed from the cluster"
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

    def refused_as_removed(self, peer: int) -> None:
        """It says that this member was removed from the cluster."""


class PeerLinks:
    """All links of one member."""

    def __init__(self, cluster_id: int, member_id: int, events: PeerEvents, dialer: Dialer) -> None:
        self.cluster_id = cluster_id
        self.member_id = member_id
        self.events = events
        self.dialer = dialer
        self._links: dict[int, PeerLink] = {}
        self._inbound: dict[_Inbound, None] = {}  # in the order they came
        self._removed: frozenset[int] = frozenset()
        self._farewells: dict[int, asyncio.TimerHandle] = {}
        self.sent_bytes: dict[int, int] = {}
        self.received_bytes: dict[int, int] = {}
        self.send_failures: dict[int, int] = {}
        self.dropped_messages = 0
        # Seconds there and back, by peer.
        self.round_trips: dict[int, Histogram] = {}

    def register(self, server: GrpcServer) -> None:
        """Take peers' streams on the server of the peer port."""
        server.stream(STREAM_PATH, lambda call: _Inbound(self, call))
        server.unary(PROBE_PATH, lambda call, message: call.reply(b""))

    def set_peers(self, peers: dict[int, list[str]], removed: Iterable[int] = (), farewell: float = 0.0) -> None:
        """Keep a link to each of these members (id → peer URLs) and to no other.

        removed: who was taken out of the cluster for good and is refused from now on. Links to them last `farewell`
        seconds longer: a leader that was removed hands over, and the others learn from it that the change is committed.
        """
        self._removed = frozenset(removed)
        for gone in set(self._links) - set(peers):
            if gone not in self._removed:
                self._links.pop(gone).close()
            elif gone not in self._farewells:
                loop = asyncio.get_running_loop()
                self._farewells[gone] = loop.call_later(farewell, self._part_with, gone)
        for peer, urls in peers.items():
            addresses = [parse_url(u, "initial-cluster") for u in urls]
            link = self._links.get(peer)
            if link is not None and link.addresses == addresses:
                continue
            if link is not None:
                link.close()
            self._links[peer] = PeerLink(self, peer, addresses)

    def _part_with(self, removed: int) -> None:
        """End all links with a member that was removed, and tell it so."""
        del self._farewells[removed]
        link = self._links.pop(removed, None)
        if link is not None:
            link.close()
        for stream in [s for s in self._inbound if s.peer == removed]:
            stream.end_removed()

    def is_removed(self, peer: int) -> bool:
        """Whether it was taken out of the cluster for good."""
        return peer in self._removed

    def up_since(self) -> dict[int, float]:
        """Peers that we can talk to, and the loop's time (seconds) since when."""
        return {peer: link.up_since for peer, link in self._links.items() if link.up_since is not None}

    def send(self, messages: Iterable[Message]) -> None:
        """Send each message to the member it names; all for one member travel in one frame."""
        by_peer: dict[int, list[Message]] = {}
        for message in messages:
            by_peer.setdefault(message.to, []).append(message)
        for peer, batch in by_peer.items():
            link = self._links.get(peer)
            if link is None or not link.send(batch):
                self.send_failures[peer] = self.send_failures.get(peer, 0) + 1
                self.dropped_messages += len(batch)
                self.events.unreachable(peer)

    def connected(self) -> set[int]:
        """Peers that we can talk to now."""
        return {peer for peer, link in self._links.items() if link.up}

    def add_inbound(self, stream: _Inbound) -> None:
        """A peer, or who says it is one, opened a stream to us."""
        self._inbound[stream] = None

    def drop_inbound(self, stream: _Inbound) -> None:
        """A stream to us has ended."""
        self._inbound.pop(stream, None)

    def close(self) -> None:
        """End every link."""
        for farewell in self._farewells.values():
            farewell.cancel()
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
        self.up_since: float | None = None
        self._said = ""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"peer-{peer:x}")

    @property
    def up(self) -> bool:
        """Whether the peer has said hello on the connection there is."""
        return self.up_since is not None

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
            await self._until_lost(channel)
        except (OSError, EtcdError, TimeoutError) as problem:
            self._say(f"cannot reach peer {self._peer:x} at {address}: {problem}")
        finally:
            self._call = None
            if channel is not None:
                channel.close()
        was_up, self.up_since = self.up, None
        if was_up:
            self._say(f"lost peer {self._peer:x} at {address}")
            self._links.events.peer_lost(self._peer)
        return was_up

    async def _until_lost(self, channel: Channel) -> None:
        """Measure the way to the peer now and then, until its connection is lost."""
        loop = asyncio.get_running_loop()
        while not self._lost.is_set():
            if self.up:
                begun = loop.time()
                # A peer of a release without the probe says UNIMPLEMENTED, which takes as long.
                with contextlib.suppress(EtcdError):
                    await channel.unary(PROBE_PATH, b"", PROBE_SECONDS)
                if self._lost.is_set():
                    return
                trips = self._links.round_trips.setdefault(self._peer, Histogram(ROUND_TRIP_SECONDS))
                trips.observe(loop.time() - begun)
            # Not wait_for: Python 3.11's loses a cancellation that comes in the turn of the event, and with it close().
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PROBE_SECONDS):
                    await self._lost.wait()

    def message(self, data: bytes) -> None:
        """The peer's hello: it knows us and takes what we send."""
        if not self.up:
            self.up_since = asyncio.get_running_loop().time()
            self._say(f"connected to peer {self._peer:x}")
            self._links.events.peer_connected(self._peer)

    def finished(self, code: int, message: str) -> None:
        """The peer ended the stream: it is stopping, or it refuses us."""
        if message:
            self._say(f"peer {self._peer:x} ended our stream: {message}")
        self._lost.set()
        if code == REMOVED:
            self._links.events.refused_as_removed(self._peer)

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
        self.peer = 0
        links.add_inbound(self)

    def message(self, data: bytes) -> None:
        try:
            frame = raft_pb2.Frame.FromString(data)
        except Exception as problem:  # protobuf's DecodeError; the stream is of no use any more
            self._call.fail(Code.INVALID_ARGUMENT, f"peer frame cannot be decoded: {problem}")
            return
        if not self.peer:
            self._greet(frame.hello)
            return
        received = self._links.received_bytes
        received[self.peer] = received.get(self.peer, 0) + len(data)
        self._links.events.received([codec.message_from_pb(m) for m in frame.messages])

    def _greet(self, hello: raft_pb2.Hello) -> None:
        links = self._links
        if hello.cluster_id != links.cluster_id:
            self._refuse(
                hello,
                f"cluster ID mismatch: this member is of cluster {links.cluster_id:x}, the peer of"
                f" {hello.cluster_id:x}; check --initial-cluster and --initial-cluster-token of both",
            )
        elif links.is_removed(hello.member_id):
            self._refuse(hello, REMOVED_TEXT, REMOVED)
        elif hello.to_member_id != links.member_id:
            self._refuse(
                hello,
                f"this is member {links.member_id:x}, not {hello.to_member_id:x}; its data directory was replaced",
            )
        else:
            self.peer = hello.member_id
            self._call.send(raft_pb2.Frame(hello=links.hello(hello.member_id)).SerializeToString())

    def _refuse(self, hello: raft_pb2.Hello, reason: str, code: Code = Code.FAILED_PRECONDITION) -> None:
        log.warning("refused peer %x: %s", hello.member_id, reason)
        self._call.fail(code, reason)

    def end_removed(self) -> None:
        """The peer was removed from the cluster."""
        self._call.fail(REMOVED, REMOVED_TEXT)

    def half_close(self) -> None:
        self._call.finish()

    def closed(self) -> None:
        self._links.drop_inbound(self)
        if self.peer:
            self._links.events.peer_lost(self.peer)
