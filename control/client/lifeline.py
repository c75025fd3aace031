"""How candidates learn at once that a leader's process is gone, where its lease would take seconds to run out.

The leader listens on a port and names it in its election value; candidates stay connected. When the process ends, its
kernel breaks the connection and refuses the next one: then, and only then, the leader is certainly gone and its key may
be deleted. Anything else (silence, no route, a refusal without a connection before it, which may be a firewall's) is no
verdict, and the lease decides.

Invariant: a wrong verdict costs a change of leaders, never two writers: the fence sees to that. Faults assumed: the
process is killed or paused, the network is cut or filtered, another process takes the port (it does not know the word).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, cast
from urllib.parse import urlsplit

from kvstore.backoff import delays

log = logging.getLogger(__name__)

# Candidates that may be connected at once.
_MOST: Final = 64
_WORD_BYTES: Final = 16
# Seconds that a connection and the word may take.
_PATIENCE: Final = 2.0
# Connections to one leader, one after the other, before we leave it to the lease.
_VISITS: Final = 12


class NoVerdict(Exception):
    """Whether the leader lives cannot be told from here."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a leader listens, and the word by which it is known."""

    host: str
    port: int
    word: str


class Lifeline:
    """The leader's side: a port that is open as long as the process lives."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._word = secrets.token_hex(_WORD_BYTES)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.BaseTransport] = set()

    async def open(self) -> Address:
        """Listen on a free port. Raises OSError when the address is not this machine's."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Visitor(self._word, self._open), self._host, 0)
        return Address(self._host, int(self._server.sockets[0].getsockname()[1]), self._word)

    def close(self) -> None:
        """Stop listening and end every connection."""
        if self._server is not None:
            self._server.close()
        for transport in list(self._open):
            transport.close()


class _Visitor(asyncio.Protocol):
    """One candidate's connection. Nobody has anything to say here but the word; its end is all that matters."""

    def __init__(self, word: str, connections: set[asyncio.BaseTransport]) -> None:
        self._word, self._connections = word, connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        if len(self._connections) >= _MOST:
            transport.close()
            return
        self._connections.add(transport)
        # A stream's transport is one for writing; uvloop's is no subclass that says so.
        cast(asyncio.WriteTransport, transport).write(self._word.encode())

    def data_received(self, data: bytes) -> None:
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self._transport)


class _Found(Enum):
    """What a visit to the leader's port showed."""

    ALIVE = "it was there, until the connection broke"
    OTHER = "nobody, or somebody else, is at its port"
    NOTHING = "no answer that says anything"


async def wait_gone(address: Address) -> None:
    """Return once the process behind the address is certainly gone. Raises NoVerdict."""
    known, pauses = False, delays(0.01, 0.2)
    for _ in range(_VISITS):
        found = await _visit(address)
        if found is _Found.ALIVE:
            # Something in between may break connections of the living; then we are soon out of visits.
            known = True
        elif not known:
            break
        elif found is _Found.OTHER:
            return
        # A process that ends closes its connections one after the other, its port perhaps last.
        await asyncio.sleep(next(pauses))
    raise NoVerdict


async def _visit(address: Address) -> _Found:
    try:
        async with asyncio.timeout(_PATIENCE):
            reader, writer = await asyncio.open_connection(address.host, address.port)
    except ConnectionRefusedError:
        return _Found.OTHER
    except (OSError, TimeoutError):
        return _Found.NOTHING
    try:
        async with asyncio.timeout(_PATIENCE):
            if await reader.readexactly(2 * _WORD_BYTES) != address.word.encode():
                return _Found.OTHER
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return _Found.NOTHING
    else:
        log.info("connected to the leader's process at %s:%d", address.host, address.port)
        with contextlib.suppress(OSError):
            await reader.read(1)
        return _Found.ALIVE
    finally:
        writer.close()


async def own_address(endpoints: Sequence[str]) -> str:
    """The address from which this machine reaches the first endpoint; "" when it cannot."""
    for endpoint in endpoints:
        parts = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
        with contextlib.suppress(OSError, ValueError):
            found = await asyncio.get_running_loop().getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_DGRAM)
            family, kind, protocol, _, target = found[0]
            with socket.socket(family, kind, protocol) as probe:
                # Connecting a datagram socket sends nothing; it only chooses the way.
                probe.connect(target)
                return str(probe.getsockname()[0])
    return ""
