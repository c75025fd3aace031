"""What pods' resolv.conf holds, by policy and dnsConfig."""

from __future__ import annotations

from typing import Any

import pytest

from node_agent.pod.network import ClusterDns, dns_of
from node_agent.runtime.types import Dns

MACHINE = Dns(("192.0.2.53",), ("corp.test",), ("timeout:1",))
CLUSTER = ClusterDns(("10.96.0.10",), "cluster.local", MACHINE)
SEARCHES = ("default.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.test")
OWN = {"dnsConfig": {"nameservers": ["9.9.9.9"], "searches": ["x.test"], "options": [{"name": "ndots", "value": "2"}]}}


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({}, Dns(("10.96.0.10",), SEARCHES, ("ndots:5",))),
        ({"hostNetwork": True}, Dns()),
        ({"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}, Dns(("10.96.0.10",), SEARCHES, ("ndots:5",))),
        ({"dnsPolicy": "Default"}, Dns()),
        ({"dnsPolicy": "None", **OWN}, Dns(("9.9.9.9",), ("x.test",), ("ndots:2",))),
        (
            {"dnsPolicy": "Default", **OWN},
            Dns(("192.0.2.53", "9.9.9.9"), ("corp.test", "x.test"), ("timeout:1", "ndots:2")),
        ),
        (OWN, Dns(("10.96.0.10", "9.9.9.9"), (*SEARCHES, "x.test"), ("ndots:2",))),
    ],
)  # fmt: skip
def test_policies(spec: dict[str, Any], wanted: Dns) -> None:
    pod = {"metadata": {"name": "p", "namespace": "default", "uid": "u"}, "spec": spec}
    assert dns_of(pod, CLUSTER) == wanted


def test_without_a_cluster_dns_pods_have_the_machines() -> None:
    pod = {"metadata": {"name": "p", "namespace": "default", "uid": "u"}, "spec": {}}
    assert dns_of(pod, ClusterDns((), "cluster.local", MACHINE)) == Dns()
