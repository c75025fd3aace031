"""The DNS server of a node: UDP and TCP on its addresses.

Invariants: as long as the cluster's Services are not known yet, their names get SERVFAIL, so that clients ask again
and never remember a wrong "no such name". Every client's share is bounded: questions at once, connections, seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from dnslib import QTYPE, RR, DNSError, DNSQuestion, DNSRecord

from node_agent.network.dns.messages import Malformed, Query, packed
from node_agent.network.dns.upstream import NoAnswer, Upstream
from node_agent.network.dns.zone import Found, Record, Zone

log = logging.getLogger(__name__)

_MOST_AT_ONCE: Final = 1024
_MOST_CONNECTIONS: Final = 128
_IDLE_SECONDS: Final = 10.0
_MOST_ALIASES: Final = 8
_TCP_BYTES: Final = 65_535


class DnsServer:
    """zone and upstream: who knows. ready(): whether the zone is complete. start(), then close()."""

    def __init__(self, zone: Zone, upstream: Upstream, ready: Callable[[], bool]) -> None:
        self._zone, self.upstream, self._ready = zone, upstream, ready
        self._transports: list[asyncio.DatagramTransport] = []
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections = 0
        self.addresses: list[tuple[str, int]] = []

    async def listen(self, address: str, port: int = 53) -> int:
        """Answer there, too; the port (port 0: any free one). Raises OSError: taken, not this machine's, no right."""
        server = await asyncio.start_server(self._connected, address, port)
        port = int(server.sockets[0].getsockname()[1])
        try:
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), local_addr=(address, port))
        except BaseException:
            server.close()
            raise
        self._servers.append(server)
        self._transports.append(transport)
        self.addresses.append((address, port))
        return port

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for transport in self._transports:
            transport.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._servers, self._transports, self.addresses = [], [], []

    # ---- transports ----

    def datagram(self, data: bytes, client: Any, transport: asyncio.DatagramTransport) -> None:
        """Too many at once are dropped: clients ask again."""
        if len(self._tasks) < _MOST_AT_ONCE:
            self._spawn(self._datagram(data, client, transport))

    async def _datagram(self, data: bytes, client: Any, transport: asyncio.DatagramTransport) -> None:
        answer = await self.answer(data, tcp=False)
        if answer and not transport.is_closing():
            transport.sendto(answer, client)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if self._connections >= _MOST_CONNECTIONS or task is None:
            writer.close()
            return
        self._connections += 1
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                await self._conversation(reader, writer)
        finally:
            self._connections -= 1
            self._tasks.discard(task)
            writer.close()

    async def _conversation(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            async with asyncio.timeout(_IDLE_SECONDS):
                length = int.from_bytes(await reader.readexactly(2), "big")
                data = await reader.readexactly(length)
            answer = await self.answer(data, tcp=True)
            if not answer:
                return
            async with asyncio.timeout(_IDLE_SECONDS):
                writer.write(len(answer).to_bytes(2, "big") + answer)
                await writer.drain()

    # ---- answers ----

    async def answer(self, data: bytes, *, tcp: bool) -> bytes:
        """What to send back; b"" for nothing."""
        try:
            query = Query(data)
        except Malformed as malformed:
            return malformed.answer
        try:
            reply = await self._reply(query, data, tcp)
        except NoAnswer:
            reply = query.refuse("SERVFAIL")
        except Exception:
            log.exception("a DNS query for %s failed", query.name)
            reply = query.refuse("SERVFAIL")
        if isinstance(reply, bytes):
            return reply
        return packed(reply, _TCP_BYTES if tcp else query.most_bytes)

    async def _reply(self, query: Query, data: bytes, tcp: bool) -> DNSRecord | bytes:
        if not query.internet:
            return query.refuse("REFUSED")
        if not self._ready() and (self._zone.owns(query.name) or query.kind == "PTR"):
            return query.refuse("SERVFAIL")
        found = self._zone.find(query.name, query.kind)
        if found is None:
            return await self.upstream.ask(data, tcp=tcp)
        if found.alias and query.kind != "CNAME":
            return await self._follow(query, found)
        return query.answer(_shuffled(found), self._zone.domain)

    async def _follow(self, query: Query, found: Found) -> DNSRecord:
        """The alias and what it leads to: stub resolvers do not follow it themselves."""
        records: list[Record] = []
        more: Sequence[RR] = ()
        owner = ""
        while found.alias and len(records) < _MOST_ALIASES:
            target = found.alias
            records.append(Record("CNAME", (target,), owner))
            owner = target
            inside = self._zone.find(target, query.kind)
            if inside is None:
                more = await self._outside(target, query.kind)
                found = Found()
            else:
                found = inside
        rest = [] if found.alias else [Record(r.type, r.data, owner) for r in _shuffled(found).records]
        return query.answer(Found((*records, *rest)), self._zone.domain, more=more)

    async def _outside(self, name: str, kind: str) -> list[RR]:
        asked = DNSRecord(q=DNSQuestion(name, getattr(QTYPE, kind, QTYPE.A)))
        answer = await self.upstream.ask(bytes(asked.pack()))
        if answer[2] & 0x02:  # truncated
            answer = await self.upstream.ask(bytes(asked.pack()), tcp=True)
        try:
            return list(DNSRecord.parse(answer).rr)
        except (DNSError, ValueError, IndexError, UnicodeError):
            raise NoAnswer from None


def _shuffled(found: Found) -> Found:
    """Clients take the first address, so the order spreads them over the endpoints."""
    if len(found.records) < 2:
        return found
    records = list(found.records)
    random.shuffle(records)
    return Found(tuple(records), found.additional, found.exists)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # uvloop's are no subclass

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if self._transport is not None:
            self._server.datagram(data, addr, self._transport)
