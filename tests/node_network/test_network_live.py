"""Two nodes, real packets: pods' addresses, Services by cluster IP and node port, names, restarts of an agent."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest
from harness.wait import wait_until
from network_values import node
from network_world import NODES, SERVER, Child, World, ip, slices

ADDRESSES = {"a": "10.244.1.2", "b": "10.244.2.2"}
SLICES = "endpointslices.discovery.k8s.io"
DNS = """
import sys
from dnslib import DNSRecord
print(DNSRecord.parse(DNSRecord.question(sys.argv[2]).send(sys.argv[1], timeout=3)).short())
"""


def names(answers: list[str]) -> set[str]:
    return {answer.split()[0] for answer in answers}


@pytest.fixture(scope="module", autouse=True)
def _up(world: World) -> None:
    for name in NODES:
        wait_until(lambda name=name: names(world.ask(name, "10.96.0.5", 80)) <= {"pa", "pb"}, "the Service")  # type: ignore[misc]


def test_pods_see_each_others_own_addresses(world: World) -> None:
    assert world.ask("pa", ADDRESSES["b"], 8080) == [f"pb {ADDRESSES['a']}"]
    assert world.ask("pb", ADDRESSES["a"], 8080) == [f"pa {ADDRESSES['b']}"]
    assert world.ask("a", ADDRESSES["b"], 8080) == ["pb 192.0.2.1"]


def test_a_service_leads_to_all_of_its_pods_by_tcp_and_udp(world: World) -> None:
    for source in ("pa", "pb", "a"):
        assert names(world.ask(source, "10.96.0.5", 80, 24)) == {"pa", "pb"}
        assert names(world.ask(source, "10.96.0.6", 53, 24, "udp")) == {"pa", "pb"}


def test_a_node_port_and_a_host_port_are_open_to_the_outside(world: World) -> None:
    assert names(world.ask("b", "192.0.2.1", 30080, 24)) == {"pa", "pb"}
    assert names(world.ask("a", "127.0.0.1", 30080, 8)) == {"pa"}
    assert world.ask("b", "192.0.2.1", 8088) == ["pa 192.0.2.2"]


def test_a_host_port_has_one_pod_or_program_of_the_machine(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, order = (
        world.children["a"],
        {"attach": "more", "netns": f"/run/netns/{world.ns['pa']}-2", "host_ports": [8099]},
    )
    program = Child(
        world.ns["a"], sys.executable, "-S", "-c", SERVER.replace("8080", "8099"), "x", log=world.folder / "x.log"
    )
    ip("netns", "add", f"{world.ns['pa']}-2")
    try:
        assert program.hear() == "up"
        refusal = answer(ours, order, "refused")
        assert "8099/TCP is already in use on this machine by process" in refusal["refused"]
        assert f"process {program.popen.pid} (" in refusal["refused"]
        assert refusal["reason"] == "FailedCreatePodSandBox"
        assert world.ask("b", "192.0.2.1", 8099)[0].startswith("x "), "it is still the program's"
        program.end(kill=True)
        assert answer(ours, order, "addresses")["addresses"]
        # Another agent of the same machine: another node of the cluster, or of another cluster.
        monkeypatch.setitem(NODES, "c", ("192.0.2.1", "10.244.3.0/24"))
        world.ns["c"] = world.ns["a"]
        theirs = world.start("c")
        theirs.tell({"resource": "nodes", "objects": [node("c", *NODES["c"])]})
        while json.loads(theirs.hear()).get("fault") != "":
            continue
        second = answer(theirs, {**order, "attach": "third"}, "refused")["refused"]
        assert re.search(r"8099/TCP is already in use on this machine by a pod behind bridge \S+-a$", second), second
        answer(ours, {"detach": "more"}, "detached")
        assert answer(theirs, {**order, "attach": "third"}, "addresses")["addresses"]
        answer(theirs, {"detach": "third"}, "detached")
    finally:
        program.end(kill=True)
        if "c" in world.children:
            world.children.pop("c").end()
        world.ns.pop("c", None)
        ip("netns", "del", f"{world.ns['pa']}-2")


def answer(child: Child, order: dict[str, Any], kind: str) -> dict[str, Any]:
    child.tell(order)
    while kind not in (said := json.loads(child.hear())):
        assert not {"refused", "addresses", "detached"} & said.keys(), said
    return dict(said)


def test_names(world: World) -> None:
    def look(source: str, server: str, name: str) -> set[str]:
        words = [
            "ip",
            "netns",
            "exec",
            world.ns[source],
            sys.executable,
            "-c",
            DNS,
            server,
            f"{name}.svc.cluster.local",
        ]
        return set(subprocess.run(words, capture_output=True, text=True, timeout=20, check=True).stdout.split())

    assert look("pa", "10.244.1.1", "web.default") == {"10.96.0.5"}
    assert look("pb", "10.96.0.10", "peers.default") == set(ADDRESSES.values())
    assert look("a", "10.96.0.10", "pb.peers.default") == {ADDRESSES["b"]}


def test_endpoints_that_leave_get_nothing_and_none_is_refused(world: World) -> None:
    world.tell(SLICES, *slices(ADDRESSES, "a"))
    for source in ("pa", "b"):
        wait_until(lambda s=source: names(world.ask(s, "10.96.0.5", 80, 8)) == {"pb"}, "only pb")  # type: ignore[misc]
    world.tell(SLICES, *slices(ADDRESSES, "a", "b"))
    for source, host, port in (("pa", "10.96.0.5", 80), ("b", "192.0.2.1", 30080)):
        wait_until(lambda s=source, h=host, p=port: world.ask(s, h, p) == ["refused"], "refused")  # type: ignore[misc]
    world.tell(SLICES, *slices(ADDRESSES))
    wait_until(lambda: names(world.ask("pa", "10.96.0.5", 80, 16)) == {"pa", "pb"}, "both again")


def test_a_killed_agent_leaves_services_and_pods_as_they_are_and_comes_back(world: World) -> None:
    world.children["a"].end(kill=True)
    assert names(world.ask("pa", "10.96.0.5", 80, 16)) == {"pa", "pb"}
    child = world.start("a", "userspace")
    wait_until(lambda: "fluyt-proxy" not in world.run("a", "nft", "list", "tables"), "the old table goes")
    wait_until(lambda: names(world.ask("a", "10.96.0.5", 80, 16)) == {"pa", "pb"}, "the user-space proxy")
    assert names(world.ask("a", "10.96.0.6", 53, 16, "udp")) == {"pa", "pb"}
    assert names(world.ask("b", "192.0.2.1", 30080, 16)) == {"pa", "pb"}
    child.end()
    assert "10.96.0.5" not in world.run("a", "ip", "addr")
    assert world.ask("pa", ADDRESSES["b"], 8080) == [f"pb {ADDRESSES['a']}"]


def test_a_clean_stop_takes_the_services_table_along(world: World) -> None:
    child = world.start("a")
    wait_until(lambda: "fluyt-proxy" in world.run("a", "nft", "list", "tables"), "its table")
    child.end()
    assert "fluyt-proxy" not in world.run("a", "nft", "list", "tables")


def test_what_a_killed_proxy_of_a_cluster_that_is_gone_has_left_goes_with_the_next_start(world: World) -> None:
    assert world.run("b", "nft", "add", "table", "inet", "fluyt-proxy-0badc0de") == ""
    assert world.run("b", "nft", "add", "table", "inet", "fluyt-proxy-of-somebody-else") == ""
    assert world.run("b", "ip", "link", "add", "fluyt-0badc0de", "type", "bridge") == ""
    world.children["b"].end()
    child = world.start("b")
    wait_until(lambda: "fluyt-0badc0de" not in world.run("b", "ip", "link"), "the interface goes")
    tables = world.run("b", "nft", "list", "tables")
    assert "fluyt-proxy-0badc0de" not in tables
    assert "fluyt-proxy-of-somebody-else" in tables
    child.end()
