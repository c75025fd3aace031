"""`fluyt store`: run one member, with etcd's flags and ETCD_* variables."""

from __future__ import annotations

import logging
import sys
from typing import Any

import click
import uvloop

from kvstore.member.compactor import parse_duration, parse_retention
from kvstore.member.config import Config, ConfigError, parse_cluster, split_urls
from kvstore.member.process import run
from kvstore.services.all import register_all
from kvstore.storage.errors import StorageError
from kvstore.wire.tls import TlsFiles

BOOL = {"type": click.BOOL, "is_flag": False, "flag_value": "true"}
SWITCH = {**BOOL, "default": "false"}

# (flag, type or option settings, default as etcd's, help)
_FLAGS: list[tuple[str, dict[str, Any], str]] = [
    ("name", {"default": "default"}, "Name of this member, as in --initial-cluster."),
    ("data-dir", {"default": ""}, "Where the data lives.  [default: NAME.fluyt]"),
    ("listen-client-urls", {"default": "http://localhost:2379"}, "URLs to listen on for clients, comma-separated."),
    ("advertise-client-urls", {"default": ""}, "URLs that clients are told.  [default: --listen-client-urls]"),
    ("listen-peer-urls", {"default": "http://localhost:2380"}, "URLs to listen on for the other members."),
    (
        "initial-advertise-peer-urls",
        {"default": "http://localhost:2380"},
        "URLs that the other members reach this one at.",
    ),
    ("initial-cluster", {"default": ""}, "All founding members: name=URL,name=URL,…  [default: this member alone]"),
    ("initial-cluster-state", {"default": "new"}, "new, or existing to join."),
    (
        "initial-cluster-token",
        {"default": "etcd-cluster"},
        "Tells apart clusters that are founded at the same addresses.",
    ),
    ("heartbeat-interval", {"default": 100, "type": int}, "Milliseconds between a leader's heartbeats."),
    ("election-timeout", {"default": 1000, "type": int}, "Milliseconds without a leader before an election."),
    (
        "snapshot-count",
        {"default": 100_000, "type": int},
        "Log entries after which the log is cut; 256 MiB of log cut it too.",
    ),
    (
        "quota-backend-bytes",
        {"default": 0, "type": int},
        "Backend size at which writes stop; 0: 2 GiB, negative: none.",
    ),
    ("auto-compaction-mode", {"default": "periodic"}, "periodic or revision."),
    (
        "auto-compaction-retention",
        {"default": "0"},
        "History to keep: hours or a duration (periodic), or revisions. 0: all.",
    ),
    ("max-request-bytes", {"default": 1536 * 1024, "type": int}, "Largest request of a client."),
    ("max-txn-ops", {"default": 128, "type": int}, "Most operations in one transaction."),
    (
        "experimental-watch-progress-notify-interval",
        {"default": "10m"},
        "How often idle watchers that asked for it hear of progress.",
    ),
    (
        "strict-reconfig-check",
        {**BOOL, "default": "true"},
        "Refuse changes of membership that could cost the cluster its quorum.",
    ),
    ("experimental-max-learners", {"default": 1, "type": int}, "How many learners there may be at a time."),
    ("pre-vote", {**BOOL, "default": "true"}, "Ask before raising the term, so that a cut-off member disturbs nobody."),
    (
        "unsafe-no-fsync",
        {**BOOL, "default": "false"},
        "UNSAFE: do not wait for the disk. Acknowledged writes can be lost.",
    ),
    (
        "auth-token",
        {"default": "simple"},
        "Tokens of users: simple, or jwt,sign-method=M,priv-key=FILE,pub-key=FILE,ttl=DURATION.",
    ),
    ("auth-token-ttl", {"default": 300, "type": click.IntRange(min=0)}, "Seconds that a simple token lives unused."),
    ("bcrypt-cost", {"default": 10, "type": int}, "Cost of hashing a password: 4 to 31, each doubling the work."),
    ("cert-file", {"default": ""}, "Certificate of the client port (PEM); with it URLs may be https://."),
    ("key-file", {"default": ""}, "Key of --cert-file."),
    ("client-cert-auth", SWITCH, "Take only clients with a certificate, whose common name is the user."),
    ("client-crl-file", {"default": ""}, "Revoked client certificates."),
    ("client-cert-allowed-hostname", {"default": ""}, "Host name that a client's certificate must carry."),
    ("trusted-ca-file", {"default": ""}, "Take only clients with a certificate of this authority."),
    ("auto-tls", SWITCH, "Make a certificate for the client port."),
    ("peer-cert-file", {"default": ""}, "Certificate of the peer port, shown to and by peers (PEM)."),
    ("peer-key-file", {"default": ""}, "Key of --peer-cert-file."),
    ("peer-client-cert-auth", SWITCH, "Take only peers with a certificate."),
    ("peer-trusted-ca-file", {"default": ""}, "Take only peers with a certificate of this authority."),
    ("peer-cert-allowed-cn", {"default": ""}, "Common name that a peer's certificate must have."),
    ("peer-cert-allowed-hostname", {"default": ""}, "Host name that a peer's certificate must carry."),
    ("peer-auto-tls", SWITCH, "Make a certificate for the peer port, and take any of the peers'."),
    ("peer-crl-file", {"default": ""}, "Revoked peer certificates."),
    (
        "self-signed-cert-validity",
        {"default": 1, "type": click.IntRange(min=1)},
        "Years that certificates of --auto-tls and --peer-auto-tls are valid.",
    ),
    ("cipher-suites", {"default": ""}, "TLS 1.2 suites to allow, by IANA name, comma-separated.  [default: OpenSSL's]"),
    ("cors", {"default": "*"}, "Origins that browsers may call the JSON gateway from, comma-separated."),
    ("host-whitelist", {"default": "*"}, "Host names that HTTP requests without TLS may be for, comma-separated."),
    ("enable-grpc-gateway", {**BOOL, "default": "true"}, "Serve the JSON gateway under /v3/."),
    ("listen-metrics-urls", {"default": ""}, "More URLs for /metrics and /health, comma-separated."),
    ("log-level", {"default": "info"}, "debug, info, warn, error."),
    ("logger", {"default": "zap"}, "Accepted for etcd's sake; there is one logger."),
]
_LEVELS = {
    "debug": "DEBUG",
    "info": "INFO",
    "warn": "WARNING",
    "warning": "WARNING",
    "error": "ERROR",
    "panic": "CRITICAL",
    "fatal": "CRITICAL",
}


@click.command(
    "store",
    context_settings={"auto_envvar_prefix": "ETCD"},
    short_help="Run one member of the store.",
    epilog="Every flag can also be given as ETCD_ and its name, as in ETCD_DATA_DIR.",
)
def store(**flags: Any) -> None:
    """Run one member of the store.

    \b
    One member, for trying things out:
      fluyt store --data-dir /tmp/one
    \b
    The first of three (the others alike, with their own names and URLs):
      fluyt store --name m1 --data-dir m1.fluyt \\
        --listen-client-urls http://127.0.0.1:12379 \\
        --listen-peer-urls http://127.0.0.1:12380 \\
        --initial-advertise-peer-urls http://127.0.0.1:12380 \\
        --initial-cluster m1=http://127.0.0.1:12380,m2=http://127.0.0.1:22380,m3=http://127.0.0.1:32380
    """
    try:
        _log_to_stderr(flags["log_level"])
        code = uvloop.run(run(_config(flags), register_all))
    except (ConfigError, StorageError) as problem:
        click.echo(f"fluyt store: {problem}", err=True)
        sys.exit(1)
    except OSError as problem:
        click.echo(f"fluyt store: {problem.strerror or problem}: {problem.filename or 'system call'}", err=True)
        sys.exit(1)
    sys.exit(code)


for _flag, _settings, _help in reversed(_FLAGS):
    store = click.option(f"--{_flag}", help=_help, show_default=bool(_settings.get("default")), **_settings)(store)


def _config(flags: dict[str, Any]) -> Config:
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


def _log_to_stderr(level: str) -> None:
    if level not in _LEVELS:
        raise ConfigError(f"--log-level must be one of {', '.join(_LEVELS)}, not {level!r}")
    logging.basicConfig(
        stream=sys.stderr, level=_LEVELS[level], format="%(asctime)s %(levelname).1s %(name)s: %(message)s"
    )


if __name__ == "__main__":
    store()
