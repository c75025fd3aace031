"""What the client asks of a connection to one member: the seam between its rules (transport.py) and a gRPC library.

Two libraries stand behind it: grpcio (grpc_channel.py), the reference, and our own (wire_channel.py), which costs
less CPU and none of grpcio's memory and threads. Which one a client uses, Settings.library says.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from google.protobuf.message import Message

from kvstore.client.rpcs import Rpc
from kvstore.errors import Code

Response = TypeVar("Response", bound=Message)
Metadata = tuple[tuple[str, str], ...]

# A word in a library's (or a TLS library's) account → what it means for a user.
_REASONS = {
    "Connection refused": "connection refused",
    "No route to host": "no route to host",
    "Network is unreachable": "network is unreachable",
    "No such file or directory": "no such file or directory",
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not one that we trust",
    "WRONG_VERSION_NUMBER": "it does not speak TLS",
    "ALERT_BAD_CERTIFICATE": "it wants a certificate of ours that it can trust",
    "CERTIFICATE_REQUIRED": "it wants a certificate of ours that it can trust",
    "connection closed by the server": "it closed the connection at once, as a server does that speaks TLS only",
    "Socket closed": "it closed the connection at once, as a server does that speaks TLS only",
}


class NotSent(Exception):
    """One attempt that never reached the member. Internal: callers see Unreachable."""


class CallFailed(Exception):
    """A call that ended with a gRPC status other than OK. Internal: transport.py judges what it means.

    sent False: it never left this process.
    """

    def __init__(self, code: Code, message: str, *, sent: bool = True) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code = code
        self.message = message
        self.sent = sent


class Stream(Protocol):
    """A call of many messages. Both ways raise CallFailed."""

    async def write(self, message: Message) -> None: ...

    async def done_writing(self) -> None:
        """Nothing more will be written."""
        ...

    async def read(self) -> Any | None:
        """The next message, None when the store ended the call with OK."""
        ...

    def cancel(self) -> None: ...


class Channel(Protocol):
    """The way to one member. It connects when it is asked to, again after every break."""

    @property
    def ready(self) -> bool:
        """Whether a connection stands."""
        ...

    @property
    def broken(self) -> bool:
        """Whether the last thing heard was a failure to connect."""
        ...

    async def connect(self, timeout: float) -> None:
        """Wait until a connection stands or is known to fail. NotSent; ClientError when the client is closed."""
        ...

    async def unary(self, rpc: Rpc[Response], request: Message, timeout: float, metadata: Metadata) -> Response:
        """One answer. CallFailed; ClientError when the client is closed."""
        ...

    def stream(self, path: str, response: type[Message], metadata: Metadata) -> Stream:
        """A call of messages both ways."""
        ...

    async def close(self) -> None:
        """End everything that runs on it."""
        ...


def shorten(message: str) -> str:
    """A library's chain of causes without what only its authors need: "connection refused" says it."""
    for phrase, reason in _REASONS.items():
        if phrase in message:
            return reason
    return message.rpartition("last error: ")[2]
