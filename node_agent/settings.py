"""What `fluyt agent` was told, checked: one value for the whole process."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from node_agent.network.settings import NetworkSettings
from node_agent.node.settings import NodeSettings


@dataclass(frozen=True, kw_only=True)
class AgentSettings:
    """Times in seconds.

    runtime: process, docker, cri or simulated; endpoint: of the docker or CRI daemon, "" for the usual one.
    address: to listen on; port 0: any free one. client_ca: PEM file of whom the server trusts, "" for the kubeconfig's.
    rotate_client, rotate_server: whether new certificates are asked for before the node's end.
    simulated_nodes: how many fake nodes this process is, 0: one real one. simulated_seed: of their chance;
    simulated_error_rate: the fraction of their runtimes' operations that fails.
    """

    node: NodeSettings
    kubeconfig: str = ""
    runtime: str = "process"
    endpoint: str = ""
    root: Path = field(default_factory=lambda: Path("/var/lib/fluyt/agent"))
    log_root: Path | None = None
    address: str = "0.0.0.0"
    tls_cert: str = ""
    tls_key: str = ""
    client_ca: str = ""
    rotate_client: bool = True
    rotate_server: bool = True
    static_pods: Path | None = None
    static_period: float = 20.0
    simulated_nodes: int = 0
    simulated_seed: int = 0
    simulated_error_rate: float = 0.0
    network: NetworkSettings = field(default_factory=NetworkSettings)
