"""Two clusters on one machine, real packets: each serves its own Services, and a node port has one of them."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.require import missing, require
from harness.wait import wait_until
from network_values import Object, endpoint, service, slice_of
from network_world import CLIENT, SERVER, Child, ip

from node_agent.network.proxy.reservations import PortReservations

HERE = "192.0.2.1"
# cluster → (address of its Service, port of its endpoint)
CLUSTERS = {"one": ("10.96.0.5", 8081), "two": ("10.112.0.5", 8082)}
NODE_PORT = 30080


class Machine:
    """A network namespace with two clusters in it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ns = folder, f"fl-{secrets.token_hex(3)}-m"
        self.children: dict[str, Child] = {}
        ip("netns", "add", self.ns)
        ip("-n", self.ns, "link", "set", "lo", "up")
        ip("-n", self.ns, "addr", "add", f"{HERE}/32", "dev", "lo")
        ip("-n", self.ns, "route", "add", "default", "dev", "lo")
        for name, (_, port) in CLUSTERS.items():
            program = SERVER.replace("8080", str(port))
            self.children[f"server-{name}"] = self._child(sys.executable, "-S", "-c", program, name)
            assert self.children[f"server-{name}"].hear() == "up"

    def _child(self, *words: str, pipe: bool = False) -> Child:
        return Child(self.ns, *words, log=self.folder / "log", pipe=pipe)

    def start(self, name: str, mode: str) -> None:
        program = str(Path(__file__).with_name("network_child.py"))
        words = [sys.executable, program, "n1", HERE, str(self.folder / name), mode, f"https://{name}"]
        child = self.children[name] = self._child(*words, pipe=True)
        address, port = CLUSTERS[name]
        ports = [{"name": "http", "port": 80, "nodePort": NODE_PORT}]
        ends = [{"name": "http", "port": port, "protocol": "TCP"}]
        child.tell(told("services", service("web", address, ports=ports, type="NodePort")))
        child.tell(told("endpointslices.discovery.k8s.io", slice_of("web", endpoint(HERE), ports=ends)))

    def event(self, name: str) -> Object:
        while "event" not in (said := json.loads(self.children[name].hear())):
            continue
        return dict(said)

    def ask(self, host: str, port: int) -> str:
        """The name of who answers, or "refused"."""
        words = ["ip", "netns", "exec", self.ns, sys.executable, "-S", "-c", CLIENT, host, str(port), "1", "tcp"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True)
        return done.stdout.split()[0]

    def close(self) -> None:
        for child in self.children.values():
            child.end(kill=True)
        subprocess.run(["ip", "netns", "del", self.ns], check=False, capture_output=True)


def told(resource: str, *objects: Object) -> Object:
    return {"resource": resource, "objects": list(objects)}


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    if os.geteuid() != 0:
        missing("network namespaces need root")
    require("ip")
    require("nft")
    made = Machine(tmp_path)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize(
    "modes",
    [
        ("nftables", "nftables"),
        pytest.param(("userspace", "nftables"), marks=pytest.mark.soak),
        pytest.param(("nftables", "userspace"), marks=pytest.mark.soak),
    ],
)
def test_a_second_cluster_takes_nothing_from_the_first(machine: Machine, modes: tuple[str, str]) -> None:
    machine.start("one", modes[0])
    wait_until(lambda: machine.ask(HERE, NODE_PORT) == "one", "the first cluster's node port")
    machine.start("two", modes[1])
    event = machine.event("two")
    assert (event["event"], event["about"]) == ("FailedToOpenPort", "web")
    assert "another cluster or program of the machine has it" in event["message"]
    wait_until(lambda: machine.ask("10.112.0.5", 80) == "two", "the second cluster's Service")
    assert (machine.ask("10.96.0.5", 80), machine.ask(HERE, NODE_PORT)) == ("one", "one")
    # The first one goes, and the port is the second one's, whose Services stay as they were.
    machine.children["one"].end()
    wait_until(lambda: machine.ask(HERE, NODE_PORT) == "two", "the second cluster's node port")
    assert machine.ask("10.112.0.5", 80) == "two"


def test_a_reserved_port_is_taken_for_everybody_and_free_again() -> None:
    mine, others = PortReservations(), PortReservations()
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        port = server.getsockname()[1]
        assert list(mine.hold({("TCP", port, "")})) == [("TCP", port, "")]
        # What lingers of a server's connections is no reason.
        server.accept()[0].close()
        assert client.recv(1) == b""
    ports = {("TCP", port, ""), ("UDP", port, "")}
    assert mine.hold(ports) == {}
    assert set(others.hold(ports)) == ports
    with pytest.raises(OSError, match="in use"):
        socket.create_server(("127.0.0.1", port))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    assert mine.hold({("UDP", port, "")}) == {}
    assert set(others.hold(ports)) == {("UDP", port, "")}
    mine.close()
    others.close()
    assert mine.hold({("TCP", port, "127.0.0.2")}) == {}
    assert others.hold({("TCP", port, "127.0.0.1"), ("TCP", port, "127.0.0.2")}) == {
        ("TCP", port, "127.0.0.2"): "Address already in use"
    }
    mine.close()
    assert others.hold(ports) == {}
    others.close()
