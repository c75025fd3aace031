"""The cluster's names, by value; the server's answers, by bytes."""

from __future__ import annotations

import asyncio

import pytest
from dnslib import EDNS0, QTYPE, RCODE, RR, DNSQuestion, DNSRecord
from network_values import Cluster, endpoint, service, slice_of

from node_agent.network.dns.messages import Malformed, Query
from node_agent.network.dns.resolv_conf import parse, upstreams
from node_agent.network.dns.server import DnsServer
from node_agent.network.dns.upstream import Upstream
from node_agent.network.dns.zone import Zone, address_of
from node_agent.runtime.types import Dns

EXTERNAL = {
    "metadata": {"name": "out", "namespace": "default"},
    "spec": {"type": "ExternalName", "externalName": "web.default.svc.cluster.local"},
}
ABROAD = {
    "metadata": {"name": "far", "namespace": "default"},
    "spec": {"type": "ExternalName", "externalName": "x.test"},
}
CLUSTER = Cluster(
    [service("web"), service("db", "None", ports=[{"name": "sql", "port": 5432}]), EXTERNAL, ABROAD],
    [
        slice_of(
            "db",
            endpoint("10.0.0.1", hostname="db-0"),
            endpoint("10.0.0.2"),
            endpoint("10.0.0.3", hostname="db-2", ready=False),
            ports=[{"name": "sql", "port": 5432, "protocol": "TCP"}],
        )
    ],
)
ZONE = Zone("cluster.local", CLUSTER)


@pytest.mark.parametrize(
    ("name", "kind", "data"),
    [
        ("web.default.svc", "A", [("10.96.0.5",)]),
        ("web.default.svc", "AAAA", []),
        ("_http._tcp.web.default.svc", "SRV", [(80, "web.default.svc.cluster.local")]),
        ("_tcp.web.default.svc", "A", []),
        ("db.default.svc", "A", [("10.0.0.1",), ("10.0.0.2",)]),
        ("db-0.db.default.svc", "A", [("10.0.0.1",)]),
        ("10-0-0-2.db.default.svc", "A", [("10.0.0.2",)]),
        (
            "_sql._tcp.db.default.svc",
            "SRV",
            [(5432, "db-0.db.default.svc.cluster.local"), (5432, "10-0-0-2.db.default.svc.cluster.local")],
        ),
        ("out.default.svc", "A", [("web.default.svc.cluster.local",)]),
        ("dns-version", "TXT", [("1.1.0",)]),
        ("10-1-2-3.default.pod", "A", [("10.1.2.3",)]),
        ("default.svc", "A", []),
    ],
)
def test_names_that_exist(name: str, kind: str, data: list[tuple[object, ...]]) -> None:
    found = ZONE.find(f"{name}.cluster.local", kind)
    assert found is not None
    assert found.exists
    assert [record.data for record in found.records] == data


@pytest.mark.parametrize(
    "name",
    [
        "nope.default.svc",
        "web.other.svc",
        "other.svc",
        "db-2.db.default.svc",
        "_x._tcp.web.default.svc",
        "a.web.default.svc",
        "x.out.default.svc",
        "nope",
        "1-2.default.pod",
    ],
)
def test_names_that_do_not(name: str) -> None:
    found = ZONE.find(f"{name}.cluster.local", "A")
    assert found is not None
    assert not found.exists


def test_addresses_have_names_and_strangers_are_not_ours() -> None:
    def names(address: str) -> list[str] | None:
        found = ZONE.find(".".join(reversed(address.split("."))) + ".in-addr.arpa", "PTR")
        return None if found is None else [str(record.data[0]) for record in found.records]

    assert names("10.96.0.5") == ["web.default.svc.cluster.local"]
    assert names("10.0.0.1") == ["db-0.db.default.svc.cluster.local"]
    assert names("192.0.2.7") is None
    assert ZONE.find("example.com", "A") is None
    assert ZONE.find("notcluster.local", "A") is None


def test_reversed_addresses() -> None:
    assert address_of("1.0.0.10.in-addr.arpa") == "10.0.0.1"
    assert address_of("1." + "0." * 30 + "f.ip6.arpa") == "f000::1"
    assert address_of("x.in-addr.arpa") is None
    assert address_of("1.2.ip6.arpa") is None


def ask(server: DnsServer, name: str, kind: str = "A", *, tcp: bool = False, edns: int = 0) -> DNSRecord:
    question = DNSRecord(q=DNSQuestion(name, getattr(QTYPE, kind)))
    if edns:
        question.add_ar(EDNS0(udp_len=edns))
    return DNSRecord.parse(asyncio.run(server.answer(bytes(question.pack()), tcp=tcp)))


class Outside(Upstream):
    """Knows x.test only."""

    def __init__(self) -> None:
        super().__init__(())

    async def ask(self, query: bytes, *, tcp: bool = False) -> bytes:
        record = DNSRecord.parse(query)
        reply = record.reply()
        reply.header.rcode = RCODE.NOERROR if str(record.q.qname) == "x.test." else RCODE.NXDOMAIN
        if not reply.header.rcode:
            reply.add_answer(*RR.fromZone("x.test. 60 A 192.0.2.9"))
        return bytes(reply.pack())


def new_server(ready: bool = True) -> DnsServer:
    return DnsServer(ZONE, Outside(), lambda: ready)


def test_answers() -> None:
    server = new_server()
    reply = ask(server, "WEB.default.svc.Cluster.local")
    assert [str(rr.rdata) for rr in reply.rr] == ["10.96.0.5"]
    assert (reply.header.aa, reply.header.ra, reply.rr[0].ttl) == (1, 1, 5)
    missing = ask(server, "nope.default.svc.cluster.local")
    assert missing.header.rcode == RCODE.NXDOMAIN
    assert [rr.rtype for rr in missing.auth] == [QTYPE.SOA]
    nodata = ask(server, "web.default.svc.cluster.local", "AAAA")
    assert (nodata.header.rcode, len(nodata.rr), len(nodata.auth)) == (RCODE.NOERROR, 0, 1)
    srv = ask(server, "_sql._tcp.db.default.svc.cluster.local", "SRV")
    assert {str(rr.rdata) for rr in srv.ar} == {"10.0.0.1", "10.0.0.2"}


def test_aliases_are_followed_inside_and_outside() -> None:
    server = new_server()
    inside = ask(server, "out.default.svc.cluster.local")
    assert [str(rr.rdata) for rr in inside.rr] == ["web.default.svc.cluster.local.", "10.96.0.5"]
    assert str(inside.rr[1].rname) == "web.default.svc.cluster.local."
    outside = ask(server, "far.default.svc.cluster.local")
    assert [str(rr.rdata) for rr in outside.rr] == ["x.test.", "192.0.2.9"]


def test_all_else_is_asked_upstream() -> None:
    server = new_server()
    assert [str(rr.rdata) for rr in ask(server, "x.test").rr] == ["192.0.2.9"]
    assert ask(server, "y.test").header.rcode == RCODE.NXDOMAIN
    server.upstream = Upstream(())
    assert ask(server, "x.test").header.rcode == RCODE.SERVFAIL


def test_before_the_services_are_known_nothing_is_denied() -> None:
    server = new_server(ready=False)
    assert ask(server, "web.default.svc.cluster.local").header.rcode == RCODE.SERVFAIL
    assert ask(server, "x.test").header.rcode == RCODE.NOERROR


def test_what_does_not_fit_is_truncated_over_udp_only() -> None:
    many = Cluster(
        [service("db", "None")], [slice_of("db", *(endpoint(f"10.0.{n // 250}.{n % 250 + 1}") for n in range(300)))]
    )
    server = DnsServer(Zone("cluster.local", many), Upstream(()), lambda: True)
    name = "db.default.svc.cluster.local"
    assert ask(server, name).header.tc == 1
    assert ask(server, name, edns=4096).header.tc == 1
    whole = ask(server, name, tcp=True)
    assert (whole.header.tc, len(whole.rr)) == (0, 300)


def test_garbage_is_refused_or_ignored() -> None:
    server = new_server()
    question = bytes(DNSRecord.question("web.default.svc.cluster.local").pack())
    assert asyncio.run(server.answer(b"x", tcp=False)) == b""
    answer = question[:2] + bytes([question[2] | 0x80]) + question[3:]
    assert asyncio.run(server.answer(answer, tcp=False)) == b""
    with pytest.raises(Malformed) as caught:
        Query(question[:20])
    assert DNSRecord.parse(caught.value.answer).header.rcode == RCODE.FORMERR
    status = question[:2] + bytes([0x10]) + question[3:]
    assert DNSRecord.parse(asyncio.run(server.answer(status, tcp=False))).header.rcode == RCODE.NOTIMP


def test_the_machines_resolvers() -> None:
    text = "# a\nnameserver 192.0.2.1\nnameserver 127.0.5.5\nsearch a.test b.test\noptions ndots:2 edns0\n"
    found = parse(text)
    assert found == Dns(("192.0.2.1", "127.0.5.5"), ("a.test", "b.test"), ("ndots:2", "edns0"))
    assert upstreams(found, {"127.0.5.5"}) == ("192.0.2.1",)
