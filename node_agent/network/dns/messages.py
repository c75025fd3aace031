"""DNS messages: a question out of bytes, an answer into bytes. Pure, by dnslib. Sources: RFC 1035, 2308, 6891."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from dnslib import (
    AAAA,
    CNAME,
    EDNS0,
    OPCODE,
    PTR,
    QTYPE,
    RCODE,
    RR,
    SOA,
    SRV,
    TXT,
    A,
    DNSError,
    DNSHeader,
    DNSRecord,
)

from node_agent.network.dns.zone import TTL, Found, Record

# What reaches clients unfragmented over any path (the DNS flag day of 2020).
UDP_BYTES: Final = 1232
_PLAIN_UDP: Final = 512
_HEADER: Final = 12
_CLASSES: Final = (1, 255)  # internet, any
_MAKERS: Final = {
    "A": A,
    "AAAA": AAAA,
    "CNAME": CNAME,
    "PTR": PTR,
    "TXT": TXT,
    "SRV": lambda port, target: SRV(0, 100, port, target),
}


class Malformed(Exception):
    """Not a query that can be answered; `answer` is what to say, b"" for nothing."""

    def __init__(self, answer: bytes = b"") -> None:
        super().__init__("malformed DNS query")
        self.answer = answer


class Query:
    """One question. name: lower case, without the last dot; kind: as "A", or a number as text."""

    def __init__(self, data: bytes) -> None:
        """Raises Malformed."""
        if len(data) < _HEADER or data[2] & 0x80:
            raise Malformed  # too short, or an answer: saying anything would start an echo
        try:
            self.record = DNSRecord.parse(data)
        except (DNSError, ValueError, IndexError, UnicodeError) as problem:
            raise Malformed(_bare(data, RCODE.FORMERR)) from problem
        if self.record.header.opcode != OPCODE.QUERY:
            raise Malformed(_bare(data, RCODE.NOTIMP))
        if len(self.record.questions) != 1:
            raise Malformed(_bare(data, RCODE.FORMERR))
        question = self.record.questions[0]
        self.name = str(question.qname).rstrip(".").lower()
        self.kind = str(QTYPE.get(question.qtype, str(question.qtype)))
        self.internet = question.qclass in _CLASSES
        self._edns = next((rr for rr in self.record.ar if rr.rtype == QTYPE.OPT), None)

    @property
    def most_bytes(self) -> int:
        """How long an answer over UDP may be."""
        offered = self._edns.rclass if self._edns is not None else _PLAIN_UDP
        return max(_PLAIN_UDP, min(int(offered), UDP_BYTES))

    def answer(self, found: Found, domain: str, *, more: Iterable[RR] = (), authoritative: bool = True) -> DNSRecord:
        """more: records that others gave, behind ours."""
        reply = self._reply(RCODE.NOERROR if found.exists else RCODE.NXDOMAIN)
        reply.header.aa = int(authoritative)
        for record in found.records:
            reply.add_answer(self._rr(record))
        for extra in more:
            reply.add_answer(extra)
        for record in found.additional:
            reply.add_ar(self._rr(record))
        if not found.records:
            reply.add_auth(_soa(domain))
        return reply

    def refuse(self, code: str) -> DNSRecord:
        """code: of dnslib's RCODE, as "SERVFAIL"."""
        return self._reply(getattr(RCODE, code))

    def _reply(self, code: int) -> DNSRecord:
        reply = self.record.reply(ra=1, aa=0)
        reply.header.rcode = code
        if self._edns is not None:
            reply.add_ar(EDNS0(udp_len=UDP_BYTES))
        return reply

    def _rr(self, record: Record) -> RR:
        name = record.name or self.record.q.qname
        return RR(name, getattr(QTYPE, record.type), ttl=TTL, rdata=_MAKERS[record.type](*record.data))


def packed(reply: DNSRecord, most: int) -> bytes:
    """At most that many bytes; what does not fit is marked as truncated, and the client asks again over TCP."""
    data = bytes(reply.pack())
    if len(data) <= most:
        return data
    return bytes(reply.truncate().pack())


def _soa(domain: str) -> RR:
    times = (1, 7200, 1800, 86400, TTL)
    return RR(domain, QTYPE.SOA, ttl=TTL, rdata=SOA(f"ns.dns.{domain}", f"hostmaster.{domain}", times))


def _bare(data: bytes, code: int) -> bytes:
    header = DNSHeader(id=int.from_bytes(data[:2], "big"), qr=1, ra=1)
    header.rcode = code
    return bytes(DNSRecord(header).pack())
