"""The flags of `fluyt store`: etcd's, with etcd's defaults. Beside these, store_etcd_flags has those we do without."""

from __future__ import annotations

from typing import Any

import click

BOOL = {"type": click.BOOL, "is_flag": False, "flag_value": "true"}
SWITCH = {**BOOL, "default": "false"}

# (flag, type or option settings, default as etcd's, help)
FLAGS: list[tuple[str, dict[str, Any], str]] = [
    ("config-file", {"default": ""}, "Read the settings from this YAML file, and from nowhere else."),
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
        "Log entries after which the log is cut; 128 MiB of log cut it too.",
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
    (
        "experimental-initial-corrupt-check",
        {**BOOL, "default": "false"},
        "Compare the data with the other members' before serving anybody; do not start if it differs.",
    ),
    (
        "experimental-corrupt-check-time",
        {"default": "0s"},
        "How often the leader compares the members' data; 0s: never.",
    ),
    (
        "experimental-compact-hash-check-enabled",
        {**BOOL, "default": "false"},
        "Compare the members' data after compactions.",
    ),
    (
        "experimental-compact-hash-check-time",
        {"default": "1m"},
        "How often the leader looks whether there is a compaction to check.",
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
    ("grpc-keepalive-interval", {"default": "2h"}, "Ping a quiet client after this time; 0: never."),
    ("grpc-keepalive-timeout", {"default": "20s"}, "Give a client's answer to a ping this long."),
    ("log-level", {"default": "info"}, "debug, info, warn, error."),
    ("logger", {"default": "zap"}, "Accepted for etcd's sake; there is one logger."),
]
