"""Channels of our own gRPC (kvstore.wire): everything happens on the loop, without threads (see channel.py).

Invariants: at most one attempt to connect is under way, and all who wait share it; a call is `sent` unless it is
certain that no byte of it left. A stream that nobody reads holds `_AHEAD` messages, then HTTP/2's flow control holds
the store back. Faults assumed: the member refuses, hangs, breaks the connection or takes no more calls (GOAWAY) at any
moment; a member that vanished is found by the connection's pings.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from google.protobuf.message import Message

from kvstore.client.channel import CallFailed, Metadata, NotSent, shorten
from kvstore.client.errors import BadCertificates, ClientError
from kvstore.client.rpcs import Rpc
from kvstore.client.settings import Settings, Tls
from kvstore.errors import Code, EtcdError
from kvstore.wire.channel import Channel
from kvstore.wire.grpc.client_call import ClientCall
from kvstore.wire.limits import Limits
from kvstore.wire.tls import ClientTls, TlsError, TlsFiles

Response = TypeVar("Response", bound=Message)

# Messages of a stream that may wait for its reader.
_AHEAD: Final = 16
# Seconds an attempt to connect may take; those who wait for it may leave earlier.
_DIAL_SECONDS: Final = 20.0
_CLOSED: Final = "the client is closed"
_GONE: Final = "the connection is gone"


class WireChannel:
    """See channel.Channel."""

    def __init__(self, target: str, secure: bool, settings: Settings) -> None:
        """Raises BadCertificates."""
        parts = urlsplit(f"//{target}")
        self._host, self._port = parts.hostname or "", parts.port or 0
        self._tls = _client_tls(settings.tls or Tls()) if secure else None
        self._name = settings.tls.server_name if settings.tls else None
        self._limits = Limits(keepalive_interval=settings.keepalive_time, keepalive_timeout=settings.keepalive_timeout)
        self._channel: Channel | None = None
        self._dialing: asyncio.Task[None] | None = None
        # Why the last attempt failed; "" when it did not.
        self._fault = ""
        self._closed = False

    @property
    def ready(self) -> bool:
        return self._channel is not None and not self._channel.closed

    @property
    def broken(self) -> bool:
        return bool(self._fault)

    async def connect(self, timeout: float) -> None:
        """See channel.Channel."""
        if self.ready:
            return
        if self._closed:
            raise ClientError(_CLOSED)
        if self._dialing is None or self._dialing.done():
            self._dialing = asyncio.create_task(self._dial())
        dialing = self._dialing
        await asyncio.wait((dialing,), timeout=timeout)
        if self._closed:
            raise ClientError(_CLOSED)
        if not dialing.done():
            raise NotSent(f"no connection within {timeout:.3g} s")
        if not self.ready:
            raise NotSent(self._fault or "the connection broke at once")

    async def _dial(self) -> None:
        """Ends with a channel, or with the fault that is known."""
        try:
            context = self._tls.context() if self._tls else None
            self._channel = await Channel.connect(
                self._host,
                self._port,
                ssl=context,
                server_name=self._name,
                timeout=_DIAL_SECONDS,
                limits=self._limits,
            )
            self._fault = ""
        except EtcdError as problem:
            self._fault = shorten(_account(problem))

    async def unary(self, rpc: Rpc[Response], request: Message, timeout: float, metadata: Metadata) -> Response:
        """See channel.Channel."""
        if self._closed:
            raise ClientError(_CLOSED)
        if self._channel is None or self._channel.closed:
            raise CallFailed(Code.UNAVAILABLE, _GONE, sent=False)
        try:
            answer = await self._channel.unary(rpc.path, request.SerializeToString(), timeout, metadata)
        except EtcdError as failure:
            if self._closed:
                raise ClientError(_CLOSED) from None
            raise CallFailed(Code(failure.code), failure.message) from None
        return rpc.response.FromString(answer)

    def stream(self, path: str, response: type[Message], metadata: Metadata) -> WireStream:
        """See channel.Channel."""
        if self._closed:
            raise ClientError(_CLOSED)
        return WireStream(self._channel, path, response, metadata)

    async def close(self) -> None:
        """See channel.Channel."""
        self._closed = True
        if self._dialing is not None:
            self._dialing.cancel()
            await asyncio.gather(self._dialing, return_exceptions=True)
        if self._channel is not None:
            self._channel.close()


class WireStream:
    """See channel.Stream. Also what the call tells (client_call.CallListener)."""

    def __init__(self, channel: Channel | None, path: str, response: type[Message], metadata: Metadata) -> None:
        """Without a connection the call has ended already, which its reader hears."""
        self._response = response
        self._messages: deque[bytes] = deque()
        self._end: tuple[int, str] | None = None
        self._wake: asyncio.Future[None] | None = None
        self._held = False
        self._call: ClientCall | None = None
        if channel is None or channel.closed:
            self._end = (Code.UNAVAILABLE, _GONE)
        else:
            self._call = channel.open(path, metadata, listener=self)

    async def write(self, message: Message) -> None:
        """See channel.Stream."""
        if self._end is not None or self._call is None:
            raise self._failure()
        self._call.send(message.SerializeToString())

    async def done_writing(self) -> None:
        """See channel.Stream."""
        if self._call is not None:
            self._call.half_close()

    async def read(self) -> Any | None:
        """See channel.Stream."""
        while not self._messages:
            if self._end is not None:
                if self._end[0] == Code.OK:
                    return None
                raise self._failure()
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        message = self._messages.popleft()
        if self._held and self._call is not None and len(self._messages) <= _AHEAD // 2:
            self._held = False
            self._call.resume()
        return self._response.FromString(message)

    def cancel(self) -> None:
        """See channel.Stream."""
        if self._call is not None:
            self._call.cancel()

    def message(self, data: bytes) -> None:
        """A message came."""
        self._messages.append(data)
        if len(self._messages) >= _AHEAD and not self._held and self._call is not None:
            self._held = True
            self._call.pause()
        self._rouse()

    def finished(self, code: int, message: str) -> None:
        """The call has ended."""
        self._end = (code, message)
        self._rouse()

    def _rouse(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _failure(self) -> CallFailed:
        code, message = self._end or (Code.CANCELED, "")
        return CallFailed(Code(code), message or "the call has ended")


def _client_tls(tls: Tls) -> ClientTls:
    """Raises BadCertificates."""
    files = TlsFiles(cert=tls.cert or "", key=tls.key or "", ca=tls.ca or "", trust_anyone=tls.skip_verify)
    try:
        return ClientTls(files)
    except TlsError as problem:
        raise BadCertificates(str(problem)) from problem


def _account(problem: EtcdError) -> str:
    """The system's own words for why there is no connection, which the message alone may not hold."""
    cause = problem.__cause__
    number = cause.errno if isinstance(cause, OSError) else None
    return f"{problem.message} ({os.strerror(number)})" if number and number > 0 else problem.message
