"""Our side of the link to one peer: it connects, says hello, sends, measures the way, and connects again.

A message that cannot be delivered is dropped, as Raft expects of a network.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kvstore.errors import Code, EtcdError
from kvstore.member.config import Address
from kvstore.member.histogram import ROUND_TRIP_SECONDS, Histogram
from kvstore.pb import raft_pb2
from kvstore.raft import codec
from kvstore.raft.types import Message
from kvstore.wire.channel import Channel
from kvstore.wire.grpc.client_call import ClientCall

if TYPE_CHECKING:
    from kvstore.member.peers.links import PeerLinks

log = logging.getLogger(__name__)

STREAM_PATH = "/fluyt.raft.Raft/Stream"
PROBE_PATH = "/fluyt.raft.Raft/Probe"
# As often as etcd measures the way to a peer.
PROBE_SECONDS = 4.0
# More than this waiting for a peer's socket: it is not keeping up, and Raft is better off sending again later.
MAX_BUFFERED = 32 * 1024 * 1024
CONNECT_SECONDS = 1.0
BACKOFF_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
# What a stream of a member that was removed ends with; it stops when it hears it.
REMOVED = Code.NOT_FOUND


class PeerLink:
    """Our side of the link to one peer: connects, says hello, sends; connects again when it breaks."""

    def __init__(self, links: PeerLinks, peer: int, addresses: list[Address]) -> None:
        self._links = links
        self._peer = peer
        self.addresses = addresses
        self._call: ClientCall | None = None
        self._channel: Channel | None = None
        self._lost: asyncio.Event = asyncio.Event()
        self._heard: asyncio.Event = asyncio.Event()
        self.up_since: float | None = None
        self._said = ""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"peer-{peer:x}")

    @property
    def up(self) -> bool:
        """Whether the peer has said hello on the connection there is."""
        return self.up_since is not None

    def send(self, messages: Sequence[Message]) -> bool:
        """False if the messages were dropped."""
        channel, call = self._channel, self._call
        if channel is None or call is None or call.buffered > MAX_BUFFERED:
            return False
        frame = codec.encode_frame(messages)
        # At once: between this and the end of the loop's turn lie the requests of many clients, and applying.
        channel.send_now(call, frame)
        self._links.sent_bytes[self._peer] = self._links.sent_bytes.get(self._peer, 0) + len(frame)
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
            await self._pause(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)])
            failures += 1

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._heard.wait()

    def heard(self) -> None:
        """The peer has just connected to us, so it is there: a new attempt need not wait."""
        self._heard.set()

    async def _attempt(self, address: Address) -> bool:
        """One connection from its beginning to its end; True if it was up."""
        self._lost.clear()
        self._heard.clear()
        channel: Channel | None = None
        try:
            channel = await self._links.dialer.connect(
                address, timeout=CONNECT_SECONDS, on_lost=lambda problem: self._lost.set()
            )
            call = channel.open(STREAM_PATH, listener=self)
            call.send(raft_pb2.Frame(hello=self._links.hello(self._peer)).SerializeToString())
            self._channel, self._call = channel, call
            await self._until_lost(channel)
        except (OSError, EtcdError, TimeoutError) as problem:
            self._say(f"cannot reach peer {self._peer:x} at {address}: {problem}")
        finally:
            self._channel = self._call = None
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
