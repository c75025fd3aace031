"""Two nodes and their pods in network namespaces of their own, connected by a cable (a veth pair)."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness.process import clean_environment, death_signal
from network_values import Object, endpoint, service, slice_of

SERVER = """
import socket, sys, threading
def tcp():
    s = socket.create_server(("", 8080), backlog=64)
    while True:
        c, peer = s.accept()
        c.sendall(f"{sys.argv[1]} {peer[0]}".encode()); c.close()
threading.Thread(target=tcp, daemon=True).start()
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("", 8080))
print("up", flush=True)
while True:
    _, peer = u.recvfrom(100)
    u.sendto(f"{sys.argv[1]} {peer[0]}".encode(), peer)
"""
CLIENT = """
import socket, sys
host, port, times, udp = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "udp"
for _ in range(times):
    try:
        if udp:
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(2); s.connect((host, port)); s.send(b"?")
        else:
            s = socket.create_connection((host, port), 2)
            s.settimeout(2)
        print(s.recv(100).decode()); s.close()
    except ConnectionRefusedError:
        print("refused")
    except OSError as problem:
        print("no answer", problem)
"""
NODES = {"a": ("192.0.2.1", "10.244.1.0/24"), "b": ("192.0.2.2", "10.244.2.0/24")}


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


class Child:
    """A program within a namespace; ended by its pid."""

    def __init__(self, namespace: str, *words: str, log: Path, pipe: bool = False) -> None:
        with log.open("ab") as errors:
            self.popen = subprocess.Popen(
                ["ip", "netns", "exec", namespace, *death_signal(), *words],
                stdin=subprocess.PIPE if pipe else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=clean_environment(),
            )

    def tell(self, order: Any) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write(json.dumps(order) + "\n")
        self.popen.stdin.flush()

    def hear(self) -> str:
        assert self.popen.stdout is not None
        return self.popen.stdout.readline().strip()

    def end(self, *, kill: bool = False) -> None:
        (self.popen.kill if kill else self.popen.terminate)()
        self.popen.wait(20)
        for stream in (self.popen.stdin, self.popen.stdout):
            if stream is not None:
                stream.close()


class World:
    """names of namespaces: `world.ns["a"]`, `["b"]` the nodes, `["pa"]`, `["pb"]` a pod on each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        tag = secrets.token_hex(3)
        self.ns = {name: f"fl-{tag}-{name}" for name in ("a", "b", "pa", "pb")}
        self.children: dict[str, Child] = {}
        self.state: dict[str, list[Object]] = {}
        for name in self.ns.values():
            ip("netns", "add", name)
        ip(
            "link",
            "add",
            "cable",
            "netns",
            self.ns["a"],
            "type",
            "veth",
            "peer",
            "name",
            "cable",
            "netns",
            self.ns["b"],
        )
        for name, (address, _) in NODES.items():
            ip("-n", self.ns[name], "link", "set", "lo", "up")
            ip("-n", self.ns[name], "addr", "add", f"{address}/24", "dev", "cable")
            ip("-n", self.ns[name], "link", "set", "cable", "up")
            other = NODES["b" if name == "a" else "a"][0]
            ip("-n", self.ns[name], "route", "add", "default", "via", other)

    def start(self, name: str, mode: str = "nftables") -> Child:
        program = str(Path(__file__).with_name("network_child.py"))
        child = Child(
            self.ns[name], sys.executable, program, name, NODES[name][0], str(self.folder / name), mode,
            log=self.folder / f"{name}.log", pipe=True,
        )  # fmt: skip
        self.children[name] = child
        for resource, objects in self.state.items():
            child.tell({"resource": resource, "objects": objects})
        return child

    def tell(self, resource: str, *objects: Object) -> None:
        self.state[resource] = list(objects)
        for name in NODES:
            self.children[name].tell({"resource": resource, "objects": list(objects)})

    def attach(self, name: str, **more: Any) -> str:
        """The address of that node's pod."""
        child = self.children[name]
        while json.loads(child.hear()).get("fault") != "":
            continue
        child.tell({"attach": f"sandbox-{name}", "netns": f"/run/netns/{self.ns['p' + name]}", **more})
        while "addresses" not in (said := json.loads(child.hear())):
            continue
        return str(said["addresses"][0])

    def serve(self, pod: str) -> None:
        child = Child(self.ns[pod], sys.executable, "-S", "-c", SERVER, pod, log=self.folder / f"{pod}.log")
        self.children[pod] = child
        assert child.hear() == "up"

    def ask(self, source: str, host: str, port: int, times: int = 1, kind: str = "tcp") -> list[str]:
        """What servers answer to that many connections: "name peer", or "refused"."""
        words = [
            "ip",
            "netns",
            "exec",
            self.ns[source],
            sys.executable,
            "-S",
            "-c",
            CLIENT,
            host,
            str(port),
            str(times),
        ]
        done = subprocess.run([*words, kind], capture_output=True, text=True, timeout=60, check=True)
        return done.stdout.splitlines()

    def run(self, source: str, *words: str) -> str:
        done = subprocess.run(
            ["ip", "netns", "exec", self.ns[source], *words], capture_output=True, text=True, timeout=20, check=False
        )
        return done.stdout + done.stderr

    def close(self) -> None:
        for child in self.children.values():
            child.end(kill=True)
        for name in self.ns.values():
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def services_of_the_world() -> tuple[Any, ...]:
    ports = [{"name": "http", "port": 80, "nodePort": 30080}]
    udp = [{"name": "http", "port": 53, "protocol": "UDP"}]
    dns = [{"name": "dns", "port": 53, "protocol": "UDP"}]
    return (
        "services",
        service("web", "10.96.0.5", ports=ports, type="NodePort"),
        service("talk", "10.96.0.6", ports=udp),
        service("peers", "None"),
        service("kube-dns", "10.96.0.10", "kube-system", ports=dns),
    )


def slices(addresses: dict[str, str], *left_out: str) -> list[Object]:
    """left_out: nodes whose pods are not ready."""
    ends = [endpoint(ip, name, hostname=f"p{name}", ready=name not in left_out, serving=name not in left_out)
            for name, ip in addresses.items()]  # fmt: skip
    udp = [{"name": "http", "port": 8080, "protocol": "UDP"}]
    return [slice_of("web", *ends), slice_of("talk", *ends, slice="talk-1", ports=udp), slice_of("peers", *ends)]
