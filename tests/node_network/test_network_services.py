"""What a node does for Services, decided from values."""

from __future__ import annotations

from typing import Any

import pytest
from network_values import endpoint, service, slice_of

from node_agent.network.proxy.balancer import Balancer
from node_agent.network.proxy.endpoints import Backend, Here
from node_agent.network.proxy.listeners import Place, places
from node_agent.network.proxy.nft_table import build
from node_agent.network.proxy.ports import service_ports
from node_agent.network.ruleset import Chain, Lookup, Table, change, whole

HERE = Here({"n1"}, {"192.0.2.1"}, {"10.0.0.0/24", "fd00::/64"})
TWO = (endpoint("10.0.0.1"), endpoint("10.0.0.2", "n2"))
NODE_PORT = {"type": "NodePort", "ports": [{"name": "http", "port": 80, "nodePort": 30080}]}


def only(spec: dict[str, Any], *endpoints: Any) -> Any:
    [found] = service_ports([service("web", **spec)], [slice_of("web", *endpoints)], HERE)
    return found


def balanced(*sources: str) -> Any:
    """A port with a load balancer's address, 5.6.7.8, and an external one, 1.2.3.4."""
    spec = {**NODE_PORT, "type": "LoadBalancer", "externalIPs": ["1.2.3.4"]}
    web = service("web", **spec, loadBalancerSourceRanges=list(sources))
    web["status"] = {"loadBalancer": {"ingress": [{"ip": "5.6.7.8"}]}}
    [found] = service_ports([web], [slice_of("web", *TWO)], HERE)
    return found


def ips(backends: tuple[Backend, ...]) -> list[str]:
    return [backend.ip for backend in backends]


def test_ready_endpoints_of_all_nodes_serve_a_cluster_ip() -> None:
    found = only({}, *TWO, endpoint("10.0.0.3", ready=False, serving=False))
    assert found.cluster_ips == ("10.96.0.5",)
    assert found.internal == (Backend("10.0.0.1", 8080, True), Backend("10.0.0.2", 8080, False))
    assert (found.node_port, found.external, found.affinity) == (0, (), 0)


def test_endpoints_that_end_serve_only_when_no_other_does() -> None:
    ending = endpoint("10.0.0.3", ready=False, serving=True)
    assert ips(only({}, *TWO, ending).internal) == ["10.0.0.1", "10.0.0.2"]
    assert ips(only({}, ending, endpoint("10.0.0.4", ready=False, serving=False)).internal) == ["10.0.0.3"]


def test_an_endpoint_of_unknown_readiness_is_ready() -> None:
    bare = {"addresses": ["10.0.0.9"]}
    assert ips(only({}, bare).internal) == ["10.0.0.9"]


@pytest.mark.parametrize(
    ("spec", "internal", "external"),
    [
        ({"internalTrafficPolicy": "Local"}, ["10.0.0.1"], ["10.0.0.1", "10.0.0.2"]),
        ({"externalTrafficPolicy": "Local"}, ["10.0.0.1", "10.0.0.2"], ["10.0.0.1"]),
        ({}, ["10.0.0.1", "10.0.0.2"], ["10.0.0.1", "10.0.0.2"]),
    ],
)
def test_traffic_policies(spec: dict[str, Any], internal: list[str], external: list[str]) -> None:
    found = only({"type": "NodePort", "ports": [{"name": "http", "port": 80, "nodePort": 30080}], **spec}, *TWO)
    assert (ips(found.internal), ips(found.external), found.node_port) == (internal, external, 30080)


def test_an_address_of_this_machine_is_local_whatever_node_it_names() -> None:
    [backend] = only({"internalTrafficPolicy": "Local"}, endpoint("192.0.2.1", "other")).internal
    assert backend.local


def test_left_out_are_headless_external_and_foreign_services() -> None:
    headless = service("h", "None")
    external = {
        "metadata": {"name": "e", "namespace": "default"},
        "spec": {"type": "ExternalName", "externalName": "x"},
    }
    foreign = service("f")
    foreign["metadata"]["labels"] = {"service.kubernetes.io/service-proxy-name": "other"}
    assert service_ports([headless, external, foreign], [], HERE) == []


def test_an_address_in_two_slices_counts_once() -> None:
    stale = slice_of("web", endpoint("10.0.0.1", ready=False, serving=False), slice="web-2")
    [found] = service_ports([service("web")], [stale, slice_of("web", *TWO)], HERE)
    assert ips(found.internal) == ["10.0.0.1", "10.0.0.2"]


def test_names_are_answered_here_until_the_dns_service_has_endpoints_of_its_own() -> None:
    ports = [{"name": "dns", "port": 53, "protocol": "UDP"}]
    dns = service("kube-dns", "10.96.0.10", "kube-system", ports=ports)
    own = Backend("127.0.9.9", 53, True)
    [found] = service_ports([dns], [], HERE, [own])
    assert found.internal == (own,)
    theirs = slice_of("kube-dns", endpoint("10.0.0.7"), namespace="kube-system", ports=ports)
    [found] = service_ports([dns], [theirs], HERE, [own])
    assert ips(found.internal) == ["10.0.0.7"]


def test_the_user_space_proxy_listens_where_there_is_an_endpoint() -> None:
    port = only({"type": "NodePort", "ports": [{"name": "http", "port": 80, "nodePort": 30080}]}, *TWO)
    assert set(places([port])) == {Place("TCP", "10.96.0.5", 80), Place("TCP", "0.0.0.0", 30080)}
    assert set(places([port], own_addresses=False)) == {Place("TCP", "0.0.0.0", 30080)}
    assert places([only({})]) == {}


def test_the_user_space_proxy_serves_by_where_a_client_is() -> None:
    def served(spec: dict[str, Any], *ends: Any) -> dict[str, list[str]]:
        [(_, target)] = places([only({**NODE_PORT, **spec}, *ends)], own_addresses=False).items()
        clients = {"the machine": "192.0.2.1", "a pod": "10.0.0.9", "outside": "192.0.2.7"}
        return {who: ips(target.backends_for(ip, HERE.ips.__contains__)) for who, ip in clients.items()}

    both, local = ["10.0.0.1", "10.0.0.2"], {"externalTrafficPolicy": "Local"}
    assert served({}, *TWO) == {"the machine": both, "a pod": both, "outside": both}
    assert served(local, *TWO) == {"the machine": both, "a pod": both, "outside": ["10.0.0.1"]}
    assert served(local, TWO[1])["outside"] == []
    # Without an endpoint on this node nobody outside finds the port open.
    far = only({**NODE_PORT, **local}, TWO[1])
    assert set(places([far], own_addresses=False)) == {Place("TCP", "0.0.0.0", 30080, inside=True)}


def test_the_user_space_proxy_shuts_out_by_source_ranges_at_the_load_balancers_addresses_alone() -> None:
    found = places([balanced("10.1.0.0/16")])
    served = {place.address for place, target in found.items() if target.backends_for("192.0.2.7", lambda _: False)}
    assert served == {"10.96.0.5", "1.2.3.4", "0.0.0.0"}
    assert found[Place("TCP", "5.6.7.8", 80)].backends_for("10.1.0.1", lambda _: False)


def test_a_client_stays_with_its_backend_while_it_is_there() -> None:
    one, two = Backend("10.0.0.1", 1), Backend("10.0.0.2", 1)
    balancer = Balancer(most=2)
    assert balancer.order([one, two], "c", 100, 0.0, 0.9)[0] == two
    balancer.took("c", two, 100, 0.0)
    assert balancer.order([one, two], "c", 100, 99.0, 0.0) == [two, one]
    assert balancer.order([one, two], "c", 100, 100.0, 0.0) == [one, two]
    assert balancer.order([one], "c", 100, 1.0, 0.0) == [one]
    for client in ("d", "e"):
        balancer.took(client, two, 100, 1.0)
    assert balancer.order([one, two], "c", 100, 1.0, 0.0) == [one, two]
    assert balancer.order([], "c", 0, 0.0, 0.0) == []


# ---- nftables ----


def test_a_service_is_an_element_of_the_map_and_a_chain() -> None:
    table = build("x", [only({}, *TWO)])
    [(key, verdict)] = table.lookups["addresses"].elements.items()
    assert key == "10.96.0.5 . tcp . 80"
    [rule] = table.chains[verdict.removeprefix("goto ")].rules
    assert rule.endswith("numgen random mod 2 map { 0 : 10.0.0.1 . 8080, 1 : 10.0.0.2 . 8080 }")
    assert set(table.lookups["itself"].elements) == {"10.0.0.1 . 10.0.0.1", "10.0.0.2 . 10.0.0.2"}


def test_what_has_no_endpoint_is_refused_and_what_has_none_here_is_dropped() -> None:
    table = build("x", [only(NODE_PORT)])
    assert list(table.lookups["refused"].elements) == ["10.96.0.5 . tcp . 80"]
    assert list(table.lookups["refused-ports"].elements) == ["tcp . 30080"]
    far = build("x", [only({"internalTrafficPolicy": "Local"}, endpoint("10.0.0.2", "n2"))])
    assert far.lookups["addresses"].elements == {"10.96.0.5 . tcp . 80": "drop"}


@pytest.mark.parametrize(("here", "outside"), [((), "drop"), ((endpoint("10.0.0.1"),), "goto loc-")])
def test_the_external_policy_local_is_for_clients_outside_alone(here: tuple[Any, ...], outside: str) -> None:
    table = build("x", [only({**NODE_PORT, "externalTrafficPolicy": "Local"}, endpoint("10.0.0.2", "n2"), *here)])
    [verdict] = table.lookups["node-ports"].elements.values()
    pods, itself, others = table.chains[verdict.removeprefix("goto ")].rules
    everybody = table.lookups["addresses"].elements["10.96.0.5 . tcp . 80"]
    assert pods == f"ip saddr {{ 10.0.0.0/24 }} {everybody}"
    assert itself == f"fib saddr type local meta mark set meta mark or 0x4000 {everybody}"
    assert others.startswith(outside)


def test_local_for_both_policies_keeps_the_two_apart() -> None:
    both = {"externalTrafficPolicy": "Local", "internalTrafficPolicy": "Local"}
    table = build("x", [only({**NODE_PORT, **both}, *TWO)])
    [inside], [outside] = table.lookups["addresses"].elements.values(), table.lookups["node-ports"].elements.values()
    assert inside == table.chains[outside.removeprefix("goto ")].rules[-1]
    assert inside not in table.chains[outside.removeprefix("goto ")].rules[0]


def test_only_the_policy_local_keeps_the_clients_address() -> None:
    def marks(spec: dict[str, Any]) -> bool:
        table = build("x", [only({**NODE_PORT, **spec}, *TWO)])
        chain = table.lookups["node-ports"].elements["tcp . 30080"].removeprefix("goto ")
        return any(rule.startswith("meta mark set") for rule in table.chains[chain].rules)

    assert marks({})
    assert not marks({"externalTrafficPolicy": "Local"})


def test_source_ranges_shut_others_out_of_the_load_balancers_addresses_alone() -> None:
    table = build("x", [balanced("10.1.0.0/16", "fd00::/8")])
    elements = table.lookups["addresses"].elements
    other = elements["1.2.3.4 . tcp . 80"]
    assert other == table.lookups["node-ports"].elements["tcp . 30080"]
    assert not any("saddr !=" in rule for rule in table.chains[other.removeprefix("goto ")].rules)
    chain = elements["5.6.7.8 . tcp . 80"].removeprefix("goto ")
    assert table.chains[chain].rules == ("ip saddr != { 10.1.0.0/16 } drop", other)
    assert build("x", [balanced()]).lookups["addresses"].elements["5.6.7.8 . tcp . 80"] == other


def test_a_node_that_the_source_ranges_allow_may_come_from_the_load_balancers_address() -> None:
    assert balanced("192.0.2.0/24").sources == ("192.0.2.0/24", "5.6.7.8")
    assert balanced("192.0.2.128/25").sources == ("192.0.2.128/25",)
    assert balanced().sources == ()


def test_affinity_has_a_set_of_clients_for_each_backend() -> None:
    spec = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}}
    table = build("x", [only(spec, *TWO)])
    sets = [name for name in table.lookups if name.startswith("af60-")]
    assert len(sets) == 2
    fewer = build("x", [only(spec, TWO[0])])
    kept = [name for name in fewer.lookups if name.startswith("af60-")]
    # The backend that stays keeps its clients.
    assert set(kept) < set(sets)
    assert f"delete set {table.name} {(set(sets) - set(kept)).pop()}" in change(table, fewer)


def test_a_change_says_only_what_changes_and_in_a_valid_order() -> None:
    before, after = build("x", [only({}, *TWO)]), build("x", [only({}, TWO[0])])
    assert change(before, before) == ""
    lines = change(before, after).splitlines()
    assert [line.split()[0] for line in lines] == ["delete", "flush", "add"]
    assert whole(after).startswith(f"add table {after.name}\ndelete table {after.name}\n")


def test_a_chain_goes_after_the_elements_that_lead_to_it() -> None:
    old = Table(
        "inet t", {"m": Lookup("map", "type ipv4_addr : verdict;", {"1.1.1.1": "goto c"})}, {"c": Chain(("drop",))}
    )
    lines = change(old, Table("inet t", {"m": Lookup("map", "type ipv4_addr : verdict;")})).splitlines()
    assert lines == ["delete element inet t m { 1.1.1.1 : goto c }", "flush chain inet t c", "delete chain inet t c"]
