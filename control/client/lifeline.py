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
from typing import Final
from urllib.parse import urlsplit

log = logging.getLogger(__name__)

# Candidates that may be connected at once.
_MOST: Final = 64
_WORD_BYTES: Final = 16
# Seconds that a connection and the word may take.
_PATIENCE: Final = 2.0


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
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self) -> Address:
        """Listen on a free port. Raises OSError when the address is not this machine's."""
        self._server = await asyncio.start_server(self._greet, self._host, 0)
        return Address(self._host, int(self._server.sockets[0].getsockname()[1]), self._word)

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._writers) >= _MOST:
            writer.close()
            return
        self._writers.add(writer)
        try:
            writer.write(self._word.encode())
            # Nobody has anything to say here; the end is all that matters.
            await reader.read(1)
        except OSError:
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def close(self) -> None:
        """Stop listening and end every connection."""
        if self._server is None:
            return
        self._server.close()
        for writer in list(self._writers):
            writer.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                await self._server.wait_closed()


async def wait_gone(address: Address) -> None:
    """Return once the process behind the address is certainly gone. Raises NoVerdict."""
    known = False
    while True:
        try:
            async with asyncio.timeout(_PATIENCE):
                reader, writer = await asyncio.open_connection(address.host, address.port)
        except ConnectionRefusedError:
            if known:
                return
            raise NoVerdict from None
        except (OSError, TimeoutError):
            raise NoVerdict from None
        try:
            if not await _says_the_word(reader, address):
                if known:
                    return
                raise NoVerdict
            if not known:
                log.info("connected to the leader's process at %s:%d", address.host, address.port)
            known = True
            with contextlib.suppress(OSError):
                await reader.read(1)
        finally:
            writer.close()


async def _says_the_word(reader: asyncio.StreamReader, address: Address) -> bool:
    """Whether it is the same process. Raises NoVerdict when it says nothing."""
    try:
        async with asyncio.timeout(_PATIENCE):
            return await reader.readexactly(2 * _WORD_BYTES) == address.word.encode()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        raise NoVerdict from None


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
