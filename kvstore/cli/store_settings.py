"""From the flags of `fluyt store` to a member's Config."""

from __future__ import annotations

from typing import Any

from kvstore.cli import durations
from kvstore.member.compactor import parse_duration, parse_retention
from kvstore.member.config import Config, ConfigError, parse_cluster, split_urls
from kvstore.wire.tls import TlsFiles


def config_of(flags: dict[str, Any]) -> Config:
    """flags: values by flag name with underscores. Raises ConfigError."""
    mode, retention = flags["auto_compaction_mode"], flags["auto_compaction_retention"]
    parse_retention(mode, retention)
    peer_urls = split_urls(flags["initial_advertise_peer_urls"], "initial-advertise-peer-urls")
    return Config(
        name=flags["name"],
        data_dir=flags["data_dir"],
        listen_client_urls=split_urls(flags["listen_client_urls"], "listen-client-urls"),
        advertise_client_urls=split_urls(
            flags["advertise_client_urls"] or flags["listen_client_urls"], "advertise-client-urls"
        ),
        listen_peer_urls=split_urls(flags["listen_peer_urls"], "listen-peer-urls"),
        initial_advertise_peer_urls=peer_urls,
        initial_cluster=parse_cluster(flags["initial_cluster"]) if flags["initial_cluster"] else {},
        initial_cluster_state=flags["initial_cluster_state"],
        initial_cluster_token=flags["initial_cluster_token"],
        heartbeat_interval=flags["heartbeat_interval"],
        election_timeout=flags["election_timeout"],
        snapshot_count=flags["snapshot_count"],
        quota_backend_bytes=flags["quota_backend_bytes"],
        initial_corrupt_check=flags["experimental_initial_corrupt_check"],
        corrupt_check_time=_seconds(flags, "experimental-corrupt-check-time"),
        compact_hash_check=flags["experimental_compact_hash_check_enabled"],
        compact_hash_check_time=_seconds(flags, "experimental-compact-hash-check-time"),
        auto_compaction_mode=mode,
        auto_compaction_retention=retention,
        max_request_bytes=flags["max_request_bytes"],
        max_txn_ops=flags["max_txn_ops"],
        watch_progress_interval=parse_duration(
            flags["experimental_watch_progress_notify_interval"], "experimental-watch-progress-notify-interval"
        ),
        strict_reconfig_check=flags["strict_reconfig_check"],
        max_learners=flags["experimental_max_learners"],
        pre_vote=flags["pre_vote"],
        unsafe_no_fsync=flags["unsafe_no_fsync"],
        auth_token=flags["auth_token"],
        auth_token_ttl=flags["auth_token_ttl"],
        bcrypt_cost=flags["bcrypt_cost"],
        log_level=flags["log_level"],
        keepalive_interval=_seconds(flags, "grpc-keepalive-interval"),
        keepalive_timeout=_seconds(flags, "grpc-keepalive-timeout"),
        listen_metrics_urls=_optional_urls(flags["listen_metrics_urls"], "listen-metrics-urls"),
        client_tls=_client_tls(flags),
        peer_tls=_peer_tls(flags),
        client_cert_auth=flags["client_cert_auth"],
        auto_tls=flags["auto_tls"],
        peer_auto_tls=flags["peer_auto_tls"],
        self_signed_cert_validity=flags["self_signed_cert_validity"],
        cors=frozenset(_words(flags["cors"])),
        host_whitelist=frozenset(_words(flags["host_whitelist"])),
        enable_grpc_gateway=flags["enable_grpc_gateway"],
    )


def _seconds(flags: dict[str, Any], flag: str) -> float:
    try:
        return max(durations.parse(flags[flag.replace("-", "_")]), 0.0)
    except ValueError as problem:
        raise ConfigError(f"--{flag}: {problem}") from None


def _client_tls(flags: dict[str, Any]) -> TlsFiles:
    return TlsFiles(
        cert=flags["cert_file"],
        key=flags["key_file"],
        ca=flags["trusted_ca_file"],
        crl=flags["client_crl_file"],
        verify_clients=bool(flags["client_cert_auth"] or flags["trusted_ca_file"]),
        allowed_hostname=flags["client_cert_allowed_hostname"],
        ciphers=_words(flags["cipher_suites"]),
    )


def _peer_tls(flags: dict[str, Any]) -> TlsFiles:
    return TlsFiles(
        cert=flags["peer_cert_file"],
        key=flags["peer_key_file"],
        ca=flags["peer_trusted_ca_file"],
        crl=flags["peer_crl_file"],
        verify_clients=bool(flags["peer_client_cert_auth"] or flags["peer_trusted_ca_file"]),
        allowed_cn=flags["peer_cert_allowed_cn"],
        allowed_hostname=flags["peer_cert_allowed_hostname"],
        ciphers=_words(flags["cipher_suites"]),
    )


def _words(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in text.split(","))))


def _optional_urls(text: str, flag: str) -> list[str]:
    return split_urls(text, flag) if text else []
