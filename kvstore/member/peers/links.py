"""The links between members: one stream to each peer for what we say, one from each for what it says.

A message that cannot be delivered is dropped, as Raft expects of a network; nothing waits. A connection that breaks
is news: the other process may be gone, and Raft is told at once instead of finding out by a timeout.

A member that was away may be called by one that joined meanwhile, and that perhaps leads by now. It is a *guest*: it
says where it listens, and is answered there for as long as it stays connected, or this member could never catch up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Protocol

from google.protobuf.message import DecodeError

from kvstore.errors import Code
from kvstore.member.config import ConfigError, parse_url
from kvstore.member.histogram import Histogram
from kvstore.member.peers.dial import Dialer
from kvstore.member.peers.link import PROBE_PATH, REMOVED, STREAM_PATH, PeerLink
from kvstore.pb import raft_pb2
from kvstore.raft import codec
from kvstore.raft.types import Message
from kvstore.version import FLUYT_VERSION
from kvstore.wire.grpc.call import Call
from kvstore.wire.server import GrpcServer

log = logging.getLogger(__name__)

# So many members that this one has not heard of yet are answered at once.
MAX_GUESTS = 16
REMOVED_TEXT = "the member has been permanently removed from the cluster"


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
        # Where this member listens for peers.
        self.own_urls: list[str] = []
        self._links: dict[int, PeerLink] = {}
        self._guests: set[int] = set()
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
        """Keep a link to each of these members (id → peer URLs), to guests, and to no other.

        removed: who was taken out of the cluster for good and is refused from now on. Links to them last `farewell`
        seconds longer: a leader that was removed hands over, and the others learn from it that the change is committed.
        """
        self._removed = frozenset(removed)
        self._guests -= peers.keys() | self._removed
        for gone in set(self._links) - set(peers) - self._guests:
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

    def send(self, messages: Sequence[Message]) -> None:
        """Send each message to the member it names; all for one member travel in one frame."""
        if len(messages) == 1:
            self._send(messages[0].to, messages)
            return
        by_peer: dict[int, list[Message]] = {}
        for message in messages:
            by_peer.setdefault(message.to, []).append(message)
        for peer, batch in by_peer.items():
            self._send(peer, batch)

    def _send(self, peer: int, batch: Sequence[Message]) -> None:
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
        if stream.peer in self._guests and all(other.peer != stream.peer for other in self._inbound):
            self._guests.discard(stream.peer)
            self._links.pop(stream.peer).close()

    def welcome(self, peer: int, urls: Iterable[str]) -> None:
        """A peer said hello: one that we have not heard of yet gets a link as well, if it says where it listens."""
        if peer in self._links or len(self._guests) >= MAX_GUESTS:
            return
        try:
            addresses = [parse_url(url, "initial-cluster") for url in urls]
        except ConfigError as problem:
            log.warning("peer %x, which is not known here yet, cannot be answered: %s", peer, problem)
            return
        if addresses:
            log.info("peer %x is not known here yet; answering it at %s", peer, ", ".join(map(str, addresses)))
            self._guests.add(peer)
            self._links[peer] = PeerLink(self, peer, addresses)

    def heard(self, peer: int) -> None:
        """A peer said hello: if our own link to it waits before it tries again, it need not any more."""
        link = self._links.get(peer)
        if link is not None:
            link.heard()

    def close(self) -> None:
        """End every link."""
        for farewell in self._farewells.values():
            farewell.cancel()
        for link in self._links.values():
            link.close()
        self._links.clear()
        self._guests.clear()

    def hello(self, to: int) -> raft_pb2.Hello:
        """Who we are and whom we mean."""
        return raft_pb2.Hello(
            cluster_id=self.cluster_id,
            member_id=self.member_id,
            to_member_id=to,
            version=FLUYT_VERSION,
            peer_urls=self.own_urls,
        )


class _Inbound:
    """A peer's stream to us."""

    def __init__(self, links: PeerLinks, call: Call) -> None:
        self._links = links
        self._call = call
        self.peer = 0
        links.add_inbound(self)

    def message(self, data: bytes) -> None:
        try:
            if not self.peer:
                self._greet(raft_pb2.Frame.FromString(data).hello)
                return
            messages = codec.decode_frame(data)
        except (DecodeError, ValueError) as problem:  # the stream is of no use any more
            self._call.fail(Code.INVALID_ARGUMENT, f"peer frame cannot be decoded: {problem}")
            return
        received = self._links.received_bytes
        received[self.peer] = received.get(self.peer, 0) + len(data)
        self._links.events.received(messages)

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
            links.welcome(hello.member_id, hello.peer_urls)
            links.heard(hello.member_id)
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
