"""The asyncio shell around one HTTP/2 connection: what is read goes in, what comes out is one write per loop turn."""

from __future__ import annotations

import asyncio
import socket
from typing import cast

from kvstore.wire.h2.connection import Connection
from kvstore.wire.h2.stream import Buffer

# Octets the transport may hold before it says stop, and before it says go on.
HIGH_WATER = 1024 * 1024
_LOW_WATER = 256 * 1024
# So many pieces with so many octets are given to the transport as they are: to copy them would cost more than that.
_PIECES = 16
_UNJOINED = 128 * 1024
# A peer that is told GOAWAY and does not read it is cut off after this many seconds.
_LINGER = 5.0


class Traffic:
    """Octets that went over the wire, for metrics."""

    def __init__(self) -> None:
        self.received = 0
        self.sent = 0


def tune(transport: asyncio.Transport) -> None:
    """No Nagle delay, and room enough that a burst of answers does not stop and go."""
    sock = cast("socket.socket | None", transport.get_extra_info("socket"))
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    transport.set_write_buffer_limits(high=HIGH_WATER, low=_LOW_WATER)


class Link:
    """Ties a connection to its transport. `connection` is set by `attach`, because it needs `wake` first."""

    connection: Connection

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, traffic: Traffic) -> None:
        self._loop = loop
        self._transport = transport
        self._traffic = traffic
        # TLS makes a record of every piece: there they are joined.
        self._plain = transport.get_extra_info("sslcontext") is None
        self._reading = True
        self._closing_since: float | None = None

    def attach(self, connection: Connection) -> None:
        """The connection, whose `wake` is this link's."""
        self.connection = connection
        connection.flush = self.flush

    def wake(self) -> None:
        """The connection has output outside of data_received: write it at the end of this turn."""
        self._loop.call_soon(self.flush)

    def data_received(self, data: bytes) -> None:
        """Bytes from the peer; what they cause is written before this returns."""
        self._traffic.received += len(data)
        if self.connection.receive(data, self._loop.time()):
            self.flush()

    def flush(self) -> None:
        """Write what there is. A failed connection is closed behind it."""
        connection = self.connection
        out = connection.take_output()
        if out and not self._transport.is_closing():
            self._write(out)
        if connection.failed is not None or connection.finished:
            # A peer that does not read would not read the GOAWAY either.
            if connection.held:
                self.abort()
            else:
                self.close()
        elif connection.ready and connection.has_more:
            self._loop.call_soon(self._go_on)

    def _write(self, out: list[Buffer]) -> None:
        if len(out) >= _PIECES and self._plain and (size := sum(map(len, out))) >= _UNJOINED:
            self._traffic.sent += size
            self._transport.writelines(out)
            return
        joined = b"".join(out) if len(out) > 1 else out[0]
        self._traffic.sent += len(joined)
        self._transport.write(joined)

    def _go_on(self) -> None:
        self.connection.pump()
        self.flush()

    def pause_writing(self) -> None:
        """The peer does not read: send nothing more, and hear no more requests from it until it does."""
        self.connection.hold()
        if self._reading:
            self._reading = False
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The peer reads again."""
        self.connection.now = self._loop.time()
        if not self._reading:
            self._reading = True
            self._transport.resume_reading()
        self.connection.release()
        self.flush()

    def lost(self, fault: Exception | None) -> None:
        """The transport has closed."""
        self._closing_since = self._closing_since or 0.0
        self.connection.lost(str(fault) if fault else "connection closed")
        self.connection.abandon()

    def close(self) -> None:
        """Close once what was written has left."""
        if self._closing_since is None:
            self._closing_since = self._loop.time()
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def tick(self, now: float) -> None:
        """Once a second."""
        if self._closing_since is not None:
            if now - self._closing_since > _LINGER:
                self._transport.abort()
            return
        self.connection.tick(now)
