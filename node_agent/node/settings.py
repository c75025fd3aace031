"""What a node was told to be, from flags. Pure values; sizes in bytes, times in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from node_agent.node.thresholds import DEFAULT_HARD, Threshold
from node_agent.pod.network import ClusterDns


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """capacity: overrides of what the machine has, by resource, as quantities. taints: put on the node when it is
    registered for the first time. pod_network: whether pods get a network of their own. pod_loopback: whether they
    get addresses of the machine's loopback network, each its own."""

    name: str
    ips: tuple[str, ...]
    port: int = 10250
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Mapping[str, str], ...] = ()
    register: bool = True
    unschedulable: bool = False
    capacity: Mapping[str, str] = field(default_factory=dict)
    reserved: Mapping[str, str] = field(default_factory=dict)
    max_pods: int = 110
    pod_pids: int = 0
    provider_id: str = ""
    status_frequency: float = 10.0
    report_frequency: float = 300.0
    lease_seconds: int = 40
    eviction_hard: tuple[Threshold, ...] = DEFAULT_HARD
    eviction_soft: tuple[Threshold, ...] = ()
    eviction_max_grace: float = 0.0
    pressure_transition: float = 300.0
    image_high: int = 85
    image_low: int = 80
    image_min_age: float = 120.0
    image_max_age: float = 0.0
    dead_containers_each: int = 1
    dead_containers_all: int = -1
    log_max_size: int = 10 << 20
    log_max_files: int = 5
    dns: ClusterDns = field(default_factory=ClusterDns)
    pod_network: bool = False
    pod_loopback: bool = False
    sync_frequency: float = 60.0
