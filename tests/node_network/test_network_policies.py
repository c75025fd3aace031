"""Who gets where by externalTrafficPolicy and loadBalancerSourceRanges: two nodes, real packets, both kinds of proxy.

Node b, and its pods behind its address, are clients outside for node a, and the other way round.
"""

from __future__ import annotations

import pytest
from harness.wait import wait_until
from network_values import Object, endpoint, service, slice_of
from network_world import NODES, World

A, B = (address for address, _ in NODES.values())
SLICES = "endpointslices.discovery.k8s.io"
EXTERNAL, BALANCER = "198.51.100.7", "203.0.113.9"
POD_B = endpoint("10.244.2.2", "b")


def balanced(name: str, ip: str, port: int, **spec: object) -> Object:
    ports = [{"name": "http", "port": port, "nodePort": 30000 + port}]
    made = service(name, ip, ports=ports, type="LoadBalancer", externalIPs=[EXTERNAL], **spec)
    return {**made, "status": {"loadBalancer": {"ingress": [{"ip": BALANCER}]}}}


SERVICES = (
    balanced("local", "10.96.0.7", 80, externalTrafficPolicy="Local"),
    service(
        "talk",
        "10.96.0.9",
        ports=[{"name": "http", "port": 53, "protocol": "UDP", "nodePort": 30053}],
        type="NodePort",
        externalTrafficPolicy="Local",
    ),
    balanced("shut", "10.96.0.8", 81, loadBalancerSourceRanges=["10.244.1.0/24"]),
)


@pytest.fixture(scope="module", autouse=True)
def _up(world: World) -> None:
    world.tell("services", *SERVICES)
    world.tell(SLICES, *slices(POD_B))
    for name in NODES:
        wait_until(lambda name=name: who(world, name, "10.96.0.8", 81) == "pb", "the Services")  # type: ignore[misc]


def slices(*ends: Object) -> list[Object]:
    udp = [{"name": "http", "port": 8080, "protocol": "UDP"}]
    return [slice_of("local", *ends), slice_of("talk", *ends, ports=udp), slice_of("shut", POD_B)]


def who(world: World, source: str, host: str, port: int) -> str:
    """The pod that answers; "refused" or "no" (answer)."""
    return [*world.ask(source, host, port)[0].split(), "no"][0]


def names(world: World, source: str, port: int, kind: str, times: int = 24) -> set[str]:
    """Who answers at a node port of a."""
    return {answer.split()[0] for answer in world.ask(source, A, port, times, kind)}


def test_local_is_for_clients_outside_not_for_the_node_and_its_pods(world: World) -> None:
    for source in ("a", "pa"):
        assert who(world, source, A, 30080) == "pb"
        assert who(world, source, EXTERNAL, 80) == "pb"
        assert who(world, source, BALANCER, 80) == "pb"
        assert names(world, source, 30053, "udp") == {"pb"}
    assert who(world, "b", A, 30080) == "no", "an outsider to a, which has no endpoint"
    # Where there is an endpoint, an outsider keeps its address.
    assert world.ask("a", B, 30080) == [f"pb {A}"]
    assert who(world, "pb", B, 30080) == "pb"


def test_source_ranges_are_the_load_balancers_alone(world: World) -> None:
    assert who(world, "pa", BALANCER, 81) == "pb"
    assert who(world, "a", BALANCER, 81) == "no"
    for source in ("a", "b", "pb"):
        assert who(world, source, A, 30081) == "pb"
        assert who(world, source, EXTERNAL, 81) == "pb"


def test_the_user_space_proxy_does_the_same(world: World) -> None:
    world.children["a"].end()
    world.start("a", "userspace")
    # Without a proxy of its own, what is no address of a would be served by b.
    wait_until(lambda: {who(world, "a", A, port) for port in (30080, 30081)} == {"pb"}, "the user-space proxy")
    for host, port in ((A, 30080), (EXTERNAL, 80), (BALANCER, 80), (A, 30081), (EXTERNAL, 81)):
        assert who(world, "a", host, port) == "pb", (host, port)
    assert names(world, "a", 30053, "udp") == {"pb"}
    assert (who(world, "b", A, 30080), names(world, "b", 30053, "udp", 1)) == ("no", {"no"})
    assert (who(world, "pa", BALANCER, 81), who(world, "a", BALANCER, 81)) == ("pb", "no")
    # An endpoint comes to this node: everybody is served now, those outside by it alone.
    world.tell(SLICES, *slices(POD_B, endpoint("10.244.1.2", "a")))
    for port, kind in ((30080, "tcp"), (30053, "udp")):
        wait_until(lambda p=port, k=kind: names(world, "b", p, k, 1) == {"pa"}, "outsiders")  # type: ignore[misc]
        assert names(world, "b", port, kind) == {"pa"}
        assert names(world, "a", port, kind) == {"pa", "pb"}
    assert names(world, "pa", 30080, "tcp") == {"pa", "pb"}
    assert "cannot be served" not in (world.folder / "a.log").read_text()
