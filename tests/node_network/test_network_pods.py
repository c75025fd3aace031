"""Addresses, routes and rules of pods on a bridge, by value; the ledger over a restart."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest
from network_values import node

from node_agent.network.machine_lock import MachineLock
from node_agent.network.pods.bridge import BridgeNetwork
from node_agent.network.pods.commands import Route, inside, routes
from node_agent.network.pods.leases import Leases, NoAddress, lease, release
from node_agent.network.pods.ledger import Ledger
from node_agent.network.pods.pod_table import build
from node_agent.network.settings import bridge_name, cluster_id, dns_address, short
from node_agent.runtime.types import PortMapping

RANGE = ip_network("10.244.1.0/29")  # the network, the gateway, five pods, the broadcast address


def test_every_sandbox_has_its_own_address_until_the_range_is_used_up() -> None:
    leases = Leases()
    for number in range(5):
        leases = lease(leases, f"s{number}", [RANGE])
    assert [leases.held[f"s{n}"] for n in range(5)] == [(f"10.244.1.{n + 2}",) for n in range(5)]
    assert lease(leases, "s1", [RANGE]) is leases
    with pytest.raises(NoAddress, match="no address of"):
        lease(leases, "one-more", [RANGE])


def test_what_was_given_back_is_used_again_last_and_oldest_first() -> None:
    leases = lease(lease(Leases(), "a", [RANGE]), "b", [RANGE])
    leases = release(release(leases, "b"), "a")
    given = []
    for number in range(5):
        leases = lease(leases, str(number), [RANGE])
        given += leases.held[str(number)]
    assert given == ["10.244.1.4", "10.244.1.5", "10.244.1.6", "10.244.1.3", "10.244.1.2"]
    assert leases.freed == ()


def test_the_ledger_survives_and_nonsense_is_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "network.json"
    ledger = Ledger(path)
    ledger.load()
    assert ledger.leases == Leases()
    ledger.ranges, ledger.leases = [str(RANGE)], lease(Leases(), "a", [RANGE])
    ledger.ports["a"] = (PortMapping(80, 8080),)
    ledger.save()
    again = Ledger(path)
    again.load()
    assert (again.ranges, again.leases, again.ports) == (ledger.ranges, ledger.leases, ledger.ports)
    path.write_text("{")
    again.load()
    assert (again.ranges, again.leases, again.ports) == ([], Leases(), {})


def test_a_bridge_keeps_its_name_even_one_that_the_ledger_does_not_tell(tmp_path: Path) -> None:
    path = tmp_path / "network.json"
    assert BridgeNetwork("new", path, former="old").name == "new"
    ledger = Ledger(path)
    ledger.ranges = [str(RANGE)]
    ledger.save()
    assert BridgeNetwork("new", path, former="old").name == "old"
    ledger.bridge = "mine"
    ledger.save()
    assert BridgeNetwork("new", path, former="old").name == "mine"


def test_routes_lead_to_other_machines_only() -> None:
    nodes = [
        node("own", "192.0.2.1", "10.244.0.0/24"),
        node("same-machine", "192.0.2.1", "10.244.1.0/24"),
        node("other", "192.0.2.2", "10.244.2.0/24"),
        node("loopback", "127.0.0.1", "10.244.3.0/24"),
        node("six", "2001:db8::1", "10.244.4.0/24"),
    ]
    assert routes(nodes, "own", ["192.0.2.1"]) == {Route("10.244.2.0/24", "192.0.2.2")}


def test_a_pod_reaches_even_its_neighbours_through_the_node() -> None:
    lines = [" ".join(words) for words in inside([RANGE], ["10.244.1.2"], 1500)]
    assert "addr replace 10.244.1.2/32 dev eth0" in lines
    assert lines[-1] == "route replace default via 10.244.1.1 dev eth0"


def test_what_leaves_the_cluster_is_masqueraded_and_host_ports_lead_in() -> None:
    pods = {
        "s": (
            ("10.244.1.2",),
            [PortMapping(80, 8080), PortMapping(53, 53, "UDP", "192.0.2.1"), PortMapping(1, 1, "SCTP")],
        )
    }
    table = build("fluyt0-n1", [RANGE], ["10.244.2.0/24"], pods)
    leaving = table.chains["postrouting"].rules[0]
    assert leaving == (
        'ip saddr 10.244.1.0/29 oifname != "fluyt0-n1" ip daddr != { 10.244.1.0/29, 10.244.2.0/24 } masquerade'
    )
    assert table.chains["host-ports"].rules == (
        "meta nfproto ipv4 tcp dport 8080 dnat ip to 10.244.1.2:80",
        "meta nfproto ipv4 ip daddr 192.0.2.1 udp dport 53 dnat ip to 10.244.1.2:53",
    )
    assert list(table.lookups["itself"].elements) == ["10.244.1.2 . 10.244.1.2"]


def test_names_of_interfaces_fit_and_differ() -> None:
    assert short("fluyt0-", "n1") == "fluyt0-n1"
    ours, theirs = (bridge_name(f"/home/{user}/agent", "n1") for user in ("a", "b"))
    assert ours != theirs
    assert ours.endswith("-n1")
    long = [short("fluyt0-", f"a-rather-long-name-{n}") for n in range(3)]
    assert {len(name) for name in long} == {15}
    assert len(set(long)) == 3


def test_each_node_answers_names_at_an_address_of_its_own() -> None:
    cluster = cluster_id(b"authority", ())
    found = {dns_address(cluster, f"n{number}") for number in range(50)}
    assert len(found) > 45
    assert all(address.startswith("127.0.") and address != "127.0.0.1" for address in found)
    assert cluster_id(b"", ("b", "a")) == cluster_id(b"", ("a", "b")) != cluster


def test_one_holds_a_machines_lock(tmp_path: Path) -> None:
    first, second = MachineLock(tmp_path / "x.lock"), MachineLock(tmp_path / "x.lock")
    assert first.take("node n1")
    assert not second.take("node n2")
    assert second.holder() == "node n1"
    first.release()
    assert second.take("node n2")
    second.release()
    assert not second.path.exists()
