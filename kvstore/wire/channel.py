"""The client: one connection to one server. Peers speak through it.

A Channel does not reconnect: its owner hears of the loss in the same loop turn and knows best what to do.
"""

from __future__ import annotations

import asyncio
import ssl as tls
from collections.abc import Callable, Iterable
from typing import cast

from kvstore.errors import Code, EtcdError
from kvstore.wire.grpc.client_call import CallListener, ClientCall
from kvstore.wire.grpc.client_connection import ClientConnection
from kvstore.wire.grpc.metadata import MetadataValue
from kvstore.wire.limits import Limits
from kvstore.wire.link import Link, Traffic, tune

# Pings after this many seconds of silence, so that a peer that vanished without a FIN is noticed.
DEFAULT_LIMITS = Limits(keepalive_interval=10.0, keepalive_timeout=5.0)
_TICK = 1.0


class Channel:
    """Made by connect(). `closed` is True once it can carry no more calls."""

    def __init__(self, protocol: _ClientProtocol) -> None:
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        # Sends one message on a call of this channel's; it leaves before whatever else this turn of the loop does.
        self.send_now = protocol.send_now

    @classmethod
    async def connect(
        cls,
        host: str,
        port: int,
        *,
        ssl: tls.SSLContext | None = None,
        server_name: str | None = None,
        timeout: float = 5.0,
        on_lost: Callable[[Exception | None], None] | None = None,
        limits: Limits = DEFAULT_LIMITS,
        max_message_bytes: int = 0x7FFF_FFFF,
    ) -> Channel:
        """Connect and exchange SETTINGS within `timeout` seconds.

        server_name: what the server's certificate must carry, if not the host. on_lost(fault) is called once if the
        connection ends other than by close(), after its calls heard of it.
        Raises EtcdError UNAVAILABLE if the server cannot be reached.
        """
        loop = asyncio.get_running_loop()
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        name = server_name if ssl is not None else None
        if ssl is not None:
            ssl.set_alpn_protocols(["h2"])
        protocol = _ClientProtocol(loop, on_lost, limits, authority, ssl is not None, max_message_bytes)
        try:
            async with asyncio.timeout(timeout):
                await loop.create_connection(lambda: protocol, host, port, ssl=ssl, server_hostname=name)
                await protocol.ready
        except (OSError, TimeoutError) as fault:
            protocol.close()
            reason = str(fault) or "timed out"
            raise EtcdError(Code.UNAVAILABLE, f"cannot connect to {authority}: {reason}") from fault
        except BaseException:
            protocol.close()
            raise
        protocol.connected = True
        return cls(protocol)

    @property
    def closed(self) -> bool:
        """No more calls can be made."""
        connection = self._protocol.connection
        return connection.failed is not None or bool(connection.going)

    @property
    def traffic(self) -> Traffic:
        """Octets sent and received."""
        return self._protocol.traffic

    def open(
        self,
        path: str,
        metadata: Iterable[tuple[str, MetadataValue]] = (),
        *,
        listener: CallListener,
        timeout: float | None = None,
    ) -> ClientCall:
        """A new call. `timeout` (seconds) is told to the server and kept here too.

        Raises EtcdError UNAVAILABLE if the connection takes no calls, ValueError for metadata that cannot be sent.
        """
        if timeout is None:
            return self._protocol.connection.open(path, metadata, listener, None)
        timed = _Timed(listener)
        call = self._protocol.connection.open(path, metadata, timed, timeout)
        timed.watch(self._loop, call, timeout)
        return call

    async def unary(
        self,
        path: str,
        message: bytes,
        timeout: float | None = None,
        metadata: Iterable[tuple[str, MetadataValue]] = (),
    ) -> bytes:
        """One message there, one back. EtcdError with the server's code and text; cancelling cancels the call."""
        answer = _Answer(self._loop.create_future())
        call = self.open(path, metadata, listener=answer, timeout=timeout)
        call.send(message)
        call.half_close()
        try:
            return await answer.future
        finally:
            call.cancel()
            if answer.future.done() and not answer.future.cancelled():
                answer.future.exception()  # heard, should we be canceled in the very turn in which it came

    def close(self) -> None:
        """End every call with UNAVAILABLE and close. on_lost is not called."""
        self._protocol.close()


class _Timed:
    """A listener with a deadline."""

    def __init__(self, listener: CallListener) -> None:
        self._listener = listener
        self._timer: asyncio.TimerHandle | None = None
        self._over = False
        self.message = listener.message

    def watch(self, loop: asyncio.AbstractEventLoop, call: ClientCall, timeout: float) -> None:
        """Start the clock."""
        if not self._over:
            late = (Code.DEADLINE_EXCEEDED, "context deadline exceeded")
            self._timer = loop.call_later(max(0.0, timeout), call.cancel, *late)

    def finished(self, code: int, message: str) -> None:
        """The call has ended."""
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
        self._listener.finished(code, message)


class _Answer:
    """Listens for the one message of a unary call."""

    def __init__(self, future: asyncio.Future[bytes]) -> None:
        self.future = future
        self._message: bytes | None = None

    def message(self, data: bytes) -> None:
        """The answer."""
        self._message = data

    def finished(self, code: int, message: str) -> None:
        """The status."""
        if self.future.done():
            return
        if code != Code.OK:
            self.future.set_exception(EtcdError(Code(code), message))
        elif self._message is None:
            self.future.set_exception(EtcdError(Code.INTERNAL, "server answered OK without a message"))
        else:
            self.future.set_result(self._message)


class _ClientProtocol(asyncio.Protocol):
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_lost: Callable[[Exception | None], None] | None,
        limits: Limits,
        authority: str,
        secure: bool,
        max_message: int,
    ) -> None:
        self._loop = loop
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._link: Link | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._closed = False
        self.traffic = Traffic()
        self.connected = False
        # Done when the server's SETTINGS are here.
        self.ready: asyncio.Future[None] = loop.create_future()
        scheme = "https" if secure else "http"
        self.connection = ClientConnection(
            limits, self._wake, loop.time(), authority=authority, scheme=scheme, max_message=max_message
        )

    def _wake(self) -> None:
        if self._link is not None:
            self._link.wake()

    def send_now(self, call: ClientCall, message: bytes) -> None:
        """Send it and write it, if the connection is up: then there is nothing left to wake for."""
        if self._link is None:
            call.send(message)
            return
        self.connection.hush()
        call.send(message)
        self._link.flush()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if self._closed:
            self._transport.abort()
            return
        tune(self._transport)
        self._link = Link(self._loop, self._transport, self.traffic)
        self._link.attach(self.connection)
        self._link.flush()
        self._ticker = self._loop.call_later(_TICK, self._tick)

    def data_received(self, data: bytes) -> None:
        assert self._link is not None
        self._link.data_received(data)
        if not self.ready.done() and self.connection.settled:
            self.ready.set_result(None)

    def pause_writing(self) -> None:
        assert self._link is not None
        self._link.pause_writing()

    def resume_writing(self) -> None:
        assert self._link is not None
        self._link.resume_writing()

    def connection_lost(self, fault: Exception | None) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
        if self._link is not None:
            self._link.lost(fault)
        if not self.ready.done():
            self.ready.set_exception(fault or ConnectionResetError("connection closed by the server"))
        if self.connected and not self._closed and self._on_lost is not None:
            self._on_lost(fault)

    def _tick(self) -> None:
        assert self._link is not None
        self._ticker = self._loop.call_later(_TICK, self._tick)
        self._link.tick(self._loop.time())

    def close(self) -> None:
        """Close without telling on_lost."""
        if self._closed:
            return
        self._closed = True
        self.ready.cancel()
        if self._ticker is not None:
            self._ticker.cancel()
        self.connection.lost("channel closed")
        if self._transport is not None:
            self._transport.close()
