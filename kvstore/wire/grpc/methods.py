"""The methods a server knows, what it refuses, and what it counts of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from kvstore.errors import Code

if TYPE_CHECKING:
    from kvstore.wire.grpc.call import Call


class ServerStream(Protocol):
    """What a stream's factory returns. `closed()` is the last thing it hears, exactly once, whoever ended the call."""

    def message(self, data: bytes) -> None:
        """A message of the client's."""

    def half_close(self) -> None:
        """The client will send no more."""

    def closed(self) -> None:
        """The call has ended: finished, failed, reset, timed out, or its connection lost."""


UnaryHandler = Callable[["Call", bytes], None]
StreamFactory = Callable[["Call"], ServerStream]
TogetherHandler = Callable[[Sequence["Call"], Sequence[bytes]], bool]
"""Calls of one method that came in one read, and their messages: True if it serves them all; False if it has done
nothing, and each of them is to go to the unary handler."""


class Method:
    """One path: its handler or factory, and its counters. together: what `unary` does, for several calls at once."""

    __slots__ = ("factory", "handled", "path", "started", "together", "unary")

    def __init__(
        self,
        path: str,
        unary: UnaryHandler | None,
        factory: StreamFactory | None,
        together: TogetherHandler | None = None,
    ) -> None:
        self.path = path
        self.unary = unary
        self.together = together
        self.factory = factory
        self.started = 0
        # Calls that ended, by status code.
        self.handled = [0] * len(Code)


class Methods:
    """All of a server's, by path."""

    def __init__(self) -> None:
        self.by_path: dict[bytes, Method] = {}
        self._services: set[str] = set()

    def add(self, method: Method) -> None:
        """A path may be added once; ValueError otherwise."""
        path = method.path.encode()
        if path in self.by_path:
            raise ValueError(f"{method.path} is registered twice")
        self.by_path[path] = method
        self._services.add(method.path.rpartition("/")[0])

    def refusal(self, path: str) -> str:
        """Why a path has no method, in grpc-go's words."""
        service, slash, name = path.rpartition("/")
        if not slash or not service.startswith("/"):
            return f'malformed method name: "{path}"'
        if service not in self._services:
            return f"unknown service {service[1:]}"
        return f"unknown method {name} for service {service[1:]}"
