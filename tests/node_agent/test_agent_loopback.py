"""Pods with addresses of the loopback network: given, seen again, not forged; by value."""

from __future__ import annotations

from typing import Any

from agent_values import NOW, pod, seen

from node_agent.pod import labels, spec
from node_agent.pod.config import NodeFacts, sandbox_config
from node_agent.pod.network import ClusterDns, loopback_address
from node_agent.pod.status import Place, pod_status
from node_agent.runtime.types import Sandbox, SandboxState

FACTS: dict[str, Any] = {
    "name": "n1",
    "ips": ("127.0.0.1",),
    "memory": 1 << 30,
    "allocatable": {},
    "dns": ClusterDns(),
    "log_root": "/logs",
}
LOOPBACK, PLAIN = NodeFacts(**FACTS, pod_loopback=True), NodeFacts(**FACTS)


def test_addresses_are_apart_and_never_the_node_s() -> None:
    found = [loopback_address(f"uid-{number}") for number in range(200)]
    assert len(set(found)) == 200
    for address in found:
        first, second, _, last = map(int, address.split("."))
        assert first == 127
        assert second != 0
        assert 0 < last < 255
    assert found[0] == loopback_address("uid-0")


def test_a_pod_s_address_is_seen_again_in_its_sandbox() -> None:
    config = sandbox_config(pod(), LOOPBACK, 0)
    assert config.host_network
    runtime = {"id": "s", "name": "p", "namespace": "d", "uid": "u1", "attempt": 0, "created_at": 1.0}
    seen = labels.seen_sandbox(Sandbox(**runtime, state=SandboxState.READY, annotations=config.annotations))
    assert (seen.ips, seen.loopback) == ((loopback_address("u1"),), loopback_address("u1"))
    ended = labels.seen_sandbox(Sandbox(**runtime, state=SandboxState.NOT_READY, annotations=config.annotations))
    assert (ended.ips, ended.loopback) == ((), "")


def test_containers_may_ask_for_it_before_the_status_is_written() -> None:
    placed = spec.with_addresses(pod(status={"phase": "Pending"}), ("127.1.2.3",), ("127.0.0.1",))
    assert placed["status"] == {
        "phase": "Pending",
        "podIP": "127.1.2.3",
        "podIPs": [{"ip": "127.1.2.3"}],
        "hostIP": "127.0.0.1",
        "hostIPs": [{"ip": "127.0.0.1"}],
    }


def test_nobody_else_says_it() -> None:
    forged = pod()
    forged["metadata"]["annotations"] = {labels.LOOPBACK: "10.9.9.9", "a": "b"}
    assert sandbox_config(forged, PLAIN, 0).annotations == {"a": "b"}
    assert sandbox_config(forged, LOOPBACK, 0).annotations[labels.LOOPBACK] == loopback_address("u1")
    assert labels.LOOPBACK not in sandbox_config(pod(hostNetwork=True), LOOPBACK, 0).annotations


def test_a_pod_that_has_ended_says_where_it_was() -> None:
    where = {"podIP": "127.1.2.3", "podIPs": [{"ip": "127.1.2.3"}]}
    over = pod_status(pod(status=where), seen(sandbox=False), Place("process", ("127.0.0.1",)), NOW)
    assert (over["podIP"], over["podIPs"], over["hostIP"]) == ("127.1.2.3", where["podIPs"], "127.0.0.1")
    at_first = pod_status(pod(), seen(sandbox=False), Place("process", ("127.0.0.1",)), NOW)
    assert "podIP" not in at_first, "it never was at the node's own address"
    on_host = pod_status(pod(hostNetwork=True), seen(sandbox=False), Place("process", ("127.0.0.1",)), NOW)
    assert on_host["podIP"] == "127.0.0.1"
