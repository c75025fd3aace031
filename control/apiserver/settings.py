"""What an API server is told at its start; the flags of `fluyt apiserver` in Python's words."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Paths are PEM files unless they say otherwise; times are seconds."""

    etcd_servers: tuple[str, ...] = ("http://127.0.0.1:2379",)
    etcd_ca: str = ""
    etcd_cert: str = ""
    etcd_key: str = ""
    # For one call to the store, all attempts together.
    store_timeout: float = 5.0
    bind_address: str = "0.0.0.0"
    # 0: any free port.
    secure_port: int = 6443
    # Where other machines reach this server; "": the machine's own address.
    advertise_address: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    client_ca: str = ""
    # Client certificate for the node agents, and whom to trust there.
    kubelet_cert: str = ""
    kubelet_key: str = ""
    kubelet_ca: str = ""
    service_cluster_ip_range: IPv4Network | IPv6Network = field(default_factory=lambda: ip_network("10.96.0.0/12"))
    node_ports: tuple[int, int] = (30000, 32767)
    event_ttl: int = 3600
    cause_ttl: int = 3 * 3600
    request_timeout: float = 60.0
    shutdown_seconds: float = 10.0
    token_auth_file: str = ""
    service_account_key_files: tuple[str, ...] = ()
    service_account_signing_key: str = ""
    service_account_issuer: str = "https://kubernetes.default.svc.cluster.local"
    api_audiences: tuple[str, ...] = ()
    authorization_modes: tuple[str, ...] = ("Node", "RBAC")
    anonymous_auth: bool = True
    requestheader_client_ca: str = ""
    requestheader_allowed_names: tuple[str, ...] = ()
    enable_admission: tuple[str, ...] = ()
    disable_admission: tuple[str, ...] = ()
    encryption_config: str = ""
    audit_log_path: str = ""
    audit_policy: str = ""
    audit_log_maxage: int = 0
    audit_log_maxbackup: int = 0
    audit_log_maxsize: int = 100
    max_requests_inflight: int = 400
    max_mutating_requests_inflight: int = 200
