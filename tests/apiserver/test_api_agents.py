"""What goes through to the node's agent: logs, exec, port-forward, proxies, figures."""

from __future__ import annotations

import base64
import contextlib
import socket
from collections.abc import Iterator

import pytest
from api_agent import Agent, agent
from harness.api_site import Api, Site, pod

from control.apiserver.agents import dialed
from control.apiserver.handlers.metrics_api import entries, usage_of
from control.apiserver.tunnel import passed_on

PODS = "/api/v1/namespaces/default/pods"
NOW = "2026-01-02T03:04:05Z"
USAGE = {"cpu": {"time": NOW, "usageNanoCores": 250_000_000}, "memory": {"time": NOW, "workingSetBytes": 64 << 20}}
SUMMARY = {
    "node": {"nodeName": "n1", **USAGE},
    "pods": [{"podRef": {"name": "p", "namespace": "default"}, "containers": [{"name": "main", **USAGE}]}],
}


@pytest.fixture(scope="module")
def world(site: Site) -> Iterator[Agent]:
    """A node n1 with an agent, and the pod p on it."""
    api = site.api()
    with agent(site.folder, "n1", SUMMARY) as running:
        api.ask("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
        api.create("/api/v1/nodes", {"metadata": {"name": "n1"}})
        address = [{"type": "InternalIP", "address": "127.0.0.1"}]
        port = {"kubeletEndpoint": {"Port": running.server_address[1]}}
        api.patch("/api/v1/nodes/n1/status", {"status": {"addresses": address, "daemonEndpoints": port}})
        two = pod("p", nodeName="n1")
        api.create(PODS, two)
        api.create(PODS, pod("unbound"))
        many = pod("many", nodeName="n1")
        many["spec"]["containers"].append({"name": "side", "image": "i"})
        api.create(PODS, many)
        yield running
        for name in ("p", "unbound", "many"):
            api.ask("DELETE", f"{PODS}/{name}", {"gracePeriodSeconds": 0})
        api.ask("DELETE", "/api/v1/nodes/n1")


def test_logs(world: Agent, api: Api) -> None:
    assert api.ask("GET", f"{PODS}/p/log", tailLines="2").body == b"one\ntwo\n"
    path, headers = world.requests[-1]
    assert path == "/containerLogs/default/p/main?tailLines=2"
    assert "authorization" not in headers
    connection = api.connection()
    connection.request("GET", f"{PODS}/p/log?follow=true", headers={"Authorization": f"Bearer {api.token}"})
    response = connection.getresponse()
    assert response.readline() == b"one\n"
    world.more.set()
    assert response.read() == b"two\n"
    connection.close()
    assert "does not have a host" in api.ask("GET", f"{PODS}/unbound/log").obj["message"]
    which = api.ask("GET", f"{PODS}/many/log")
    assert (which.code, "choose one of: [main side]" in which.obj["message"]) == (400, True)
    assert api.ask("GET", f"{PODS}/many/log", container="none").code == 400
    assert api.ask("GET", f"{PODS}/p/log", tailLines="x").code == 400


def upgraded(api: Api, path: str, protocol: str = "v5.channel.k8s.io") -> tuple[socket.socket, bytes]:
    """A connection after its upgrade, and the head of the answer."""
    plain = socket.create_connection(("127.0.0.1", api.port), timeout=10)
    secure = api.context.wrap_socket(plain, server_hostname="127.0.0.1")
    lines = (
        f"GET {path} HTTP/1.1",
        "Host: x",
        f"Authorization: Bearer {api.token}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Protocol: {protocol}",
    )
    secure.sendall("\r\n".join([*lines, "", ""]).encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += secure.recv(4096)
    return secure, head


def read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(65536)
        if not piece:
            break
        data += piece
    return data


@pytest.mark.parametrize("what", ["exec?command=ls&command=-l", "attach?stdin=true", "portforward?ports=80"])
def test_upgrades_pass_through_byte_by_byte(world: Agent, api: Api, what: str) -> None:
    protocol = "SPDY/3.1+portforward.k8s.io" if "ports" in what else "v5.channel.k8s.io"
    connection, head = upgraded(api, f"{PODS}/p/{what}", protocol)
    with contextlib.closing(connection):
        assert head.startswith(b"HTTP/1.1 101")
        assert protocol.encode() in head
        connection.sendall(b"\x00\xff\x01")
        assert read(connection, 6) == b"\x00\xff\x01" * 2
        big = b"x" * 1_000_000
        connection.sendall(big)
        assert len(read(connection, 2_000_000)) == 2_000_000
        connection.sendall(b"bye")
        assert read(connection, 10_000) == b"byebye"
    path, headers = world.requests[-1]
    assert path.partition("?")[2] == what.partition("?")[2]
    assert "authorization" not in headers


def test_what_proves_who_the_client_is_goes_no_further() -> None:
    token = "base64url.bearer.authorization.k8s.io.c2VjcmV0"
    credentials = {
        "authorization": "Bearer secret", "proxy-authorization": "Basic x", "cookie": "a=b", "host": "x",
        "impersonate-user": "root", "impersonate-extra-a": "b", "x-remote-user": "root", "x-remote-group": "g",
        "x-remote-uid": "1", "x-remote-extra-a": "b", "sec-websocket-protocol": token,
    }  # fmt: skip
    assert passed_on(credentials | {"upgrade": "websocket"}) == {"upgrade": "websocket"}
    both = passed_on({"sec-websocket-protocol": f"v5.channel.k8s.io,{token} , chat"})
    assert both == {"sec-websocket-protocol": "v5.channel.k8s.io, chat"}


def test_a_token_among_the_subprotocols_stays_here(world: Agent, api: Api) -> None:
    """Browsers can send it nowhere else; the pod or the agent behind a proxy has no business with it."""
    token = "base64url.bearer.authorization.k8s.io." + base64.urlsafe_b64encode(b"hunter2").decode().rstrip("=")
    for path in (f"{PODS}/p/exec?command=ls", "/api/v1/nodes/n1/proxy/anything"):
        connection, head = upgraded(api, path, f"{token}, v5.channel.k8s.io")
        connection.close()
        assert head.startswith(b"HTTP/1.1 101")
        assert world.requests[-1][1]["sec-websocket-protocol"] == "v5.channel.k8s.io"


def test_what_cannot_be_upgraded(world: Agent, api: Api) -> None:
    assert api.ask("GET", f"{PODS}/p/exec", command="ls").code == 400
    connection, head = upgraded(api, f"{PODS}/p/exec")
    connection.close()
    assert head.startswith(b"HTTP/1.1 400")
    connection, head = upgraded(api, f"{PODS}/unbound/exec?command=ls")
    connection.close()
    assert head.startswith(b"HTTP/1.1 400")


def test_figures(world: Agent, api: Api) -> None:
    nodes = api.get("/apis/metrics.k8s.io/v1beta1/nodes")["items"]
    assert [(node["metadata"]["name"], node["usage"]) for node in nodes] == [
        ("n1", {"cpu": "250000000n", "memory": "65536Ki"})
    ]
    found = api.get("/apis/metrics.k8s.io/v1beta1/namespaces/default/pods/p")
    assert found["containers"] == [{"name": "main", "usage": {"cpu": "250000000n", "memory": "65536Ki"}}]
    assert [item["metadata"]["name"] for item in api.get("/apis/metrics.k8s.io/v1beta1/pods")["items"]] == ["p"]
    assert api.ask("GET", "/apis/metrics.k8s.io/v1beta1/nodes/none").code == 404
    assert api.ask("DELETE", "/apis/metrics.k8s.io/v1beta1/nodes/n1").code == 405


def test_an_agent_that_tells_stories() -> None:
    for summary in (None, [], {"pods": 5}, {"pods": [None, {"podRef": "x"}, 7]}):
        assert entries(summary) == []
    for stats in (None, [], {}, {"cpu": 5, "memory": []}, {"cpu": {"usageNanoCores": "many"}, "memory": {}}):
        assert usage_of(stats) is None


def test_proxies(world: Agent, api: Api) -> None:
    through = api.ask("GET", "/api/v1/nodes/n1/proxy/stats/summary")
    assert (through.code, through.obj) == (200, SUMMARY)
    missing = api.ask("GET", "/api/v1/nodes/n1/proxy/elsewhere")
    assert (missing.code, missing.body) == (404, b"no such thing here")
    assert api.ask("GET", "/api/v1/nodes/none/proxy/").code == 404
    assert api.ask("GET", f"{PODS}/p/proxy/").code == 503
    api.patch(f"{PODS}/p/status", {"status": {"podIP": "169.254.169.254"}})
    assert api.ask("GET", f"{PODS}/p/proxy/latest/meta-data").code == 403
    port = world.server_address[1]
    api.patch(f"{PODS}/p/status", {"status": {"podIP": "127.0.0.1"}})
    refused = api.ask("GET", f"{PODS}/https:p:{port}/proxy/stats/summary")
    # Pods get no certificate of ours, and this one wants one.
    assert refused.code == 503


def test_proxies_to_what_has_a_name_only(world: Agent, api: Api) -> None:
    for name, address, code in (("h1", "localhost", 503), ("h2", "no-such-host.invalid", 503), ("h3", "x..y", 503)):
        api.create("/api/v1/nodes", {"metadata": {"name": name}})
        api.patch(f"/api/v1/nodes/{name}/status", {"status": {"addresses": [{"type": "Hostname", "address": address}]}})
        assert api.ask("GET", f"/api/v1/nodes/{name}:1/proxy/x").code == code
        api.ask("DELETE", f"/api/v1/nodes/{name}")
    for address in ("::ffff:169.254.169.254", "fe80::1"):
        api.patch(f"{PODS}/p/status", {"status": {"podIP": address}})
        assert api.ask("GET", f"{PODS}/p/proxy/latest/meta-data").code == 403


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (ConnectionRefusedError(111, "Connect call failed"), "dial tcp 10.0.0.1:10250: connect: connection refused"),
        (TimeoutError(), "dial tcp 10.0.0.1:10250: i/o timeout"),
        (OSError("Multiple exceptions"), "dial tcp 10.0.0.1:10250: Multiple exceptions"),
    ],
)
def test_why_an_agent_is_not_reached(problem: OSError, words: str) -> None:
    assert dialed(problem, "10.0.0.1", 10250) == words


def test_an_agent_that_is_away(world: Agent, api: Api) -> None:
    api.create("/api/v1/nodes", {"metadata": {"name": "n2"}})
    status = {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]}
    status |= {"daemonEndpoints": {"kubeletEndpoint": {"Port": 1}}}  # type: ignore[dict-item]
    api.patch("/api/v1/nodes/n2/status", {"status": status})
    api.create(PODS, pod("away", nodeName="n2"))
    reply = api.ask("GET", f"{PODS}/away/log")
    assert (reply.code, reply.reason) == (503, "ServiceUnavailable")
    connection, head = upgraded(api, f"{PODS}/away/exec?command=ls")
    connection.close()
    assert head.startswith(b"HTTP/1.1 503")
    assert [item["metadata"]["name"] for item in api.get("/apis/metrics.k8s.io/v1beta1/nodes")["items"]] == ["n1"]
    api.ask("DELETE", f"{PODS}/away", {"gracePeriodSeconds": 0})
    api.ask("DELETE", "/api/v1/nodes/n2")
