"""Asks the machine's own resolvers, one after the other. Faults assumed: they are slow, silent, or lie about who they
are: an answer counts only from the asked address, with the asked id and question.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from typing import Final, cast

from dnslib import DNSError, DNSRecord

_SECONDS: Final = 2.0
_ROUNDS: Final = 2
_MOST_AT_ONCE: Final = 512
_PORT: Final = 53
_MOST_BYTES: Final = 65_535


class NoAnswer(Exception):
    """None of the machine's resolvers answered, or too many questions are open already."""


class Upstream:
    """servers: (address, port) pairs."""

    def __init__(self, servers: Sequence[tuple[str, int]], seconds: float = _SECONDS) -> None:
        self.servers = tuple(servers)
        self._seconds = seconds
        self._open = 0

    @classmethod
    def of(cls, addresses: Sequence[str]) -> Upstream:
        return cls([(address, _PORT) for address in addresses])

    async def ask(self, query: bytes, *, tcp: bool = False) -> bytes:
        """The answer to a query, with the query's id. Raises NoAnswer."""
        if self._open >= _MOST_AT_ONCE:
            raise NoAnswer
        self._open += 1
        try:
            for _ in range(_ROUNDS):
                for server in self.servers:
                    answer = await self._one(server, query, tcp)
                    if answer is not None:
                        return query[:2] + answer[2:]
        finally:
            self._open -= 1
        raise NoAnswer

    async def _one(self, server: tuple[str, int], query: bytes, tcp: bool) -> bytes | None:
        # An id of our own: clients may choose theirs badly.
        asked = secrets.token_bytes(2) + query[2:]
        try:
            async with asyncio.timeout(self._seconds):
                return await (_over_tcp(server, asked) if tcp else _over_udp(server, asked))
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return None


async def _over_udp(server: tuple[str, int], asked: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    # Connected: the kernel drops what comes from anywhere else.
    transport, protocol = await loop.create_datagram_endpoint(lambda: _Ask(asked), remote_addr=server)
    try:
        return await protocol.answer
    finally:
        transport.close()


class _Ask(asyncio.DatagramProtocol):
    def __init__(self, asked: bytes) -> None:
        self._asked = asked
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.DatagramTransport, transport).sendto(self._asked)  # uvloop's are no subclass

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if not self.answer.done() and answers(data, self._asked):
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


async def _over_tcp(server: tuple[str, int], asked: bytes) -> bytes | None:
    reader, writer = await asyncio.open_connection(*server)
    try:
        writer.write(len(asked).to_bytes(2, "big") + asked)
        data = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        return data if answers(data, asked) else None
    finally:
        writer.close()


def answers(data: bytes, asked: bytes) -> bool:
    """Whether these bytes are the answer to that query."""
    if len(data) < 12 or data[:2] != asked[:2] or not data[2] & 0x80:
        return False
    try:
        return bool(DNSRecord.parse(data).q == DNSRecord.parse(asked).q)
    except (DNSError, ValueError, IndexError, UnicodeError):
        return False
