"""What a member is told at start: etcd's flags, checked once, with errors that name cause and cure."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from kvstore.wire.tls import TlsFiles

MIB = 1024 * 1024
# Of --cors and --host-whitelist.
ANYTHING = frozenset(("*",))


class ConfigError(ValueError):
    """A flag that cannot be right; the message is one line for the user."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen or connect."""

    host: str
    port: int
    tls: bool

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def parse_url(url: str, flag: str) -> Address:
    """The address in an http:// or https:// URL with a port and no path, as etcd takes them."""
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https"):
        raise ConfigError(f"--{flag}: {url!r} must begin with http:// or https://")
    try:
        port = parts.port
    except ValueError:
        port = None
    if not parts.hostname or port is None:
        raise ConfigError(f"--{flag}: {url!r} needs a host and a port, as in http://127.0.0.1:2379")
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username:
        raise ConfigError(f"--{flag}: {url!r} must have nothing after the port")
    return Address(parts.hostname, port, parts.scheme == "https")


def split_urls(text: str, flag: str) -> list[str]:
    """A comma-separated list of URLs, each checked."""
    urls = [u.strip() for u in text.split(",") if u.strip()]
    if not urls:
        raise ConfigError(f"--{flag} is empty; give at least one URL")
    for url in urls:
        parse_url(url, flag)
    return urls


def parse_cluster(text: str) -> dict[str, list[str]]:
    """name=url,name=url,… → name → its peer URLs."""
    peers: dict[str, list[str]] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, equals, url = part.partition("=")
        if not equals or not name:
            raise ConfigError(f"--initial-cluster: {part!r} is not of the form name=http://host:port")
        parse_url(url, "initial-cluster")
        peers.setdefault(name, []).append(url)
    if not peers:
        raise ConfigError("--initial-cluster names no member")
    return peers


@dataclass(slots=True)
class Config:
    """One member's settings; times in milliseconds where etcd's flags are, sizes in bytes."""

    name: str = "default"
    data_dir: str = ""
    listen_client_urls: list[str] = field(default_factory=lambda: ["http://localhost:2379"])
    advertise_client_urls: list[str] = field(default_factory=list)
    listen_peer_urls: list[str] = field(default_factory=lambda: ["http://localhost:2380"])
    initial_advertise_peer_urls: list[str] = field(default_factory=lambda: ["http://localhost:2380"])
    listen_metrics_urls: list[str] = field(default_factory=list)
    initial_cluster: dict[str, list[str]] = field(default_factory=dict)
    initial_cluster_state: str = "new"
    initial_cluster_token: str = "etcd-cluster"
    strict_reconfig_check: bool = True
    max_learners: int = 1
    heartbeat_interval: int = 100
    election_timeout: int = 1000
    snapshot_count: int = 100_000
    quota_backend_bytes: int = 0
    initial_corrupt_check: bool = False
    corrupt_check_time: float = 0.0
    compact_hash_check: bool = False
    compact_hash_check_time: float = 60.0
    auto_compaction_mode: str = "periodic"
    auto_compaction_retention: str = "0"
    max_request_bytes: int = 1536 * 1024
    max_txn_ops: int = 128
    max_concurrent_streams: int = 2**32 - 1
    watch_progress_interval: float = 600.0
    pre_vote: bool = True
    unsafe_no_fsync: bool = False
    auth_token: str = "simple"
    auth_token_ttl: int = 300
    bcrypt_cost: int = 10
    log_level: str = "info"
    # Pings of the client port, in seconds; 0: none.
    keepalive_interval: float = 7200.0
    keepalive_timeout: float = 20.0
    # Certificates of the client port (and the metrics ports), and of the peer port (both directions).
    client_tls: TlsFiles = field(default_factory=TlsFiles)
    peer_tls: TlsFiles = field(default_factory=TlsFiles)
    # Whether a client's verified certificate says who it is.
    client_cert_auth: bool = False
    auto_tls: bool = False
    peer_auto_tls: bool = False
    self_signed_cert_validity: int = 1  # years
    # Origins that browsers may call the JSON gateway from; "*": any.
    cors: frozenset[str] = ANYTHING
    host_whitelist: frozenset[str] = ANYTHING
    enable_grpc_gateway: bool = True

    @property
    def request_timeout(self) -> float:
        """Seconds a request may wait to be applied (etcd: 5 s and two election timeouts)."""
        return 5.0 + 2 * self.election_timeout / 1000

    @property
    def quota(self) -> int:
        """Bytes of the backend at which writes stop; etcd's default of 2 GiB, -1 for none."""
        if self.quota_backend_bytes < 0:
            return 1 << 62
        return self.quota_backend_bytes or 2 * 1024 * MIB

    def validate(self) -> None:
        """Fill in what follows from other settings. Raises ConfigError."""
        if not self.name:
            raise ConfigError("--name is empty; every member needs a name")
        self.data_dir = self.data_dir or f"{self.name}.fluyt"
        if not self.initial_cluster:
            self.initial_cluster = {self.name: list(self.initial_advertise_peer_urls)}
        self._check_times()
        self._check_cluster()
        if not self.advertise_client_urls:
            self.advertise_client_urls = list(self.listen_client_urls)
        if self.auto_compaction_mode not in ("periodic", "revision"):
            raise ConfigError(f"--auto-compaction-mode must be periodic or revision, not {self.auto_compaction_mode!r}")
        if self.max_learners < 1:
            raise ConfigError("--experimental-max-learners must be at least 1")
        if self.compact_hash_check_time <= 0:
            raise ConfigError("--experimental-compact-hash-check-time must be more than 0s")
        if self.max_request_bytes < 1024:
            raise ConfigError("--max-request-bytes is below 1024; even small requests would be refused")

    def _check_times(self) -> None:
        if not self.heartbeat_interval >= 1:
            raise ConfigError("--heartbeat-interval must be at least 1 ms")
        if self.election_timeout < 5 * self.heartbeat_interval:
            raise ConfigError(
                f"--election-timeout ({self.election_timeout} ms) must be at least 5 times"
                f" --heartbeat-interval ({self.heartbeat_interval} ms)"
            )
        if self.election_timeout > 50_000:
            raise ConfigError("--election-timeout must be at most 50000 ms")

    def _check_cluster(self) -> None:
        if self.initial_cluster_state not in ("new", "existing"):
            raise ConfigError(f"--initial-cluster-state must be new or existing, not {self.initial_cluster_state!r}")
        mine = self.initial_cluster.get(self.name)
        if mine is None:
            names = ", ".join(self.initial_cluster)
            raise ConfigError(f"--initial-cluster has no member named {self.name!r} (it has: {names}); see --name")
        if sorted(mine) != sorted(self.initial_advertise_peer_urls):
            raise ConfigError(
                f"--initial-cluster says {self.name} is at {','.join(mine)}, but --initial-advertise-peer-urls says"
                f" {','.join(self.initial_advertise_peer_urls)}; make them equal"
            )

    def default_data_dir(self) -> str:
        """Where the data goes when nothing was said."""
        return os.path.abspath(self.data_dir)
