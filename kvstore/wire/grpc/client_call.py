"""One call as its caller sees it.

Invariant: the listener hears `finished` exactly once, as the last thing, whatever ended the call.
A call that is made while the server allows no more streams waits; what is sent on it waits with it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from kvstore.errors import Code, EtcdError
from kvstore.wire.grpc import status
from kvstore.wire.grpc.messages import MessageReader
from kvstore.wire.grpc.sending import put_message
from kvstore.wire.h2.errors import ErrorCode
from kvstore.wire.h2.stream import Stream

if TYPE_CHECKING:
    from kvstore.wire.grpc.client_connection import ClientConnection
    from kvstore.wire.grpc.response import ResponseHead

log = logging.getLogger(__name__)


class CallListener(Protocol):
    """Hears what comes back on a call."""

    def message(self, data: bytes) -> None:
        """A message of the server's."""

    def finished(self, code: int, message: str) -> None:
        """The call has ended with this gRPC status."""


class ClientCall(Stream):
    """Made by ClientConnection.open. stream_id is 0 while the call waits for its turn."""

    connection: ClientConnection

    def __init__(self, connection: ClientConnection, listener: CallListener, block: bytes) -> None:
        super().__init__(connection, 0)
        self.block = block
        self.closed = False
        self._listener = listener
        self._early: list[bytes] = []
        self._early_half_close = False
        self._got_headers = False
        self._reader = MessageReader(connection.max_message)
        # What the server's headers said, if they already decide how the call ends.
        self._verdict: tuple[int, str] | None = None

    @property
    def buffered(self) -> int:
        """Octets that wait: for a stream, for flow control, or for a slow server."""
        return self._unsent + sum(map(len, self._early)) if self._early else self._unsent

    def send(self, message: bytes) -> None:
        """Send one message. Dropped if the call has ended or was half-closed."""
        if self.closed or self.local_closed:
            return
        if not self.stream_id:
            self._early.append(message)
            return
        put_message(self, message)

    def half_close(self) -> None:
        """We will send no more."""
        if self.closed or self.local_closed:
            return
        if not self.stream_id:
            self._early_half_close = True
            return
        self.put_tail(b"")

    def cancel(self, code: int = Code.CANCELED, message: str = "canceled by the caller") -> None:
        """End the call; the listener hears finished(code, message) before this returns."""
        if self.closed:
            return
        if self.stream_id:
            self.connection.reset(self.stream_id, ErrorCode.CANCEL)
        self.finish(code, message)

    def start(self, stream_id: int) -> None:
        """The call's turn has come."""
        self.stream_id = stream_id
        self.connection.write_block(stream_id, self.block, end_stream=False)
        early, self._early = self._early, []
        for message in early:
            self.send(message)
        if self._early_half_close:
            self.half_close()

    def finish(self, code: int, message: str) -> None:
        """Tell the listener, once."""
        if self.closed:
            return
        self.closed = True
        self._early = []
        self.guard(lambda: self._listener.finished(code, message))
        self.connection.call_ended(self)

    def guard(self, step: Callable[[], None]) -> None:
        """Run a callback of the listener's; one that raises ends the call."""
        try:
            step()
        except Exception:
            log.exception("listener of a call failed")
            if not self.closed:
                self.cancel(Code.INTERNAL, "listener failed")

    # Hearing.

    def head_fault(self, head: ResponseHead, ends: bool) -> str:
        """Why this list may not come now, or ''."""
        if not self._got_headers:
            return head.fault
        return head.trailer_fault if ends else "trailers without END_STREAM"

    def on_head(self, head: ResponseHead, ends: bool) -> None:
        """Response headers or trailers."""
        if not self._got_headers and 100 <= head.http_status < 200 and not ends:
            return
        if self._got_headers:
            self._end(head.grpc_status or self._verdict or (Code.UNKNOWN, "server sent no grpc-status"))
            return
        self._got_headers = True
        if head.http_status != 200 or not head.is_grpc:
            self._verdict = head.grpc_status or head.refusal()
        if ends:
            self._end(head.grpc_status or self._verdict or (Code.UNKNOWN, "server sent no grpc-status"))

    def on_data(self, data: bytes) -> None:
        """DATA."""
        if self._verdict is not None or self.closed:
            return
        try:
            messages = self._reader.feed(data)
        except EtcdError as fault:
            self.cancel(fault.code, fault.message)
            return
        for message in messages:
            if not self.closed:
                self._hear(message)

    def _hear(self, message: bytes) -> None:
        self.guard(lambda: self._listener.message(message))

    def on_remote_end(self) -> None:
        """END_STREAM on DATA: a server must end with trailers."""
        self._end(self._verdict or (Code.INTERNAL, "server closed the stream without trailers"))

    def _end(self, verdict: tuple[int, str]) -> None:
        if not self.ended:
            # The server is done with the call, so nothing we still have to say matters.
            if self.local_closed and not self._unsent:
                self.connection.forget(self)
            else:
                self.connection.reset(self.stream_id, ErrorCode.NO_ERROR if self.remote_closed else ErrorCode.CANCEL)
        self.finish(*verdict)

    def on_abort(self, code: ErrorCode, reason: str) -> None:
        """Reset by the server, broken rules, or the connection went."""
        if self.connection.failed is not None:
            self.finish(Code.UNAVAILABLE, reason)
        else:
            self.finish(status.FROM_RESET.get(code, Code.INTERNAL), f"stream ended with {code.name}: {reason}")
