"""etcd's flags that we do without: taken, so that a command line or a file written for etcd works, and answered.

Those whose absence changes nothing that a client sees are ignored with a line in the log. Those that ask for something
we do not have are refused, unless they are at etcd's default.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import click

from kvstore.member.config import ConfigError


@dataclass(frozen=True)
class Absent:
    """One such flag. default: etcd's. why: what to know; refused: whether another value is an error."""

    flag: str
    default: str
    why: str
    refused: bool = False


_BOLT = "there is no bbolt file; LMDB needs no such setting"
_V2 = "etcd's v2 API is not served"
_ONE_LOG = "the log goes to stderr; let the service manager rotate it"
_TRACING = "there is no tracing; see /metrics"
_DISCOVERY = "discovery is not served; name the members with --initial-cluster"

ABSENT = (
    Absent("wal-dir", "", "the log lies in --data-dir; make that directory's log/ a mount point", True),
    Absent("max-snapshots", "5", "snapshots are not kept as files"),
    Absent("max-wals", "5", "log segments go when they are not needed any more"),
    Absent("initial-election-tick-advance", "true", "a new member asks for an election at once"),
    Absent("backend-bbolt-freelist-type", "map", _BOLT),
    Absent("backend-batch-interval", "", "commits follow the disk's speed"),
    Absent("backend-batch-limit", "0", "commits follow the disk's speed"),
    Absent("grpc-keepalive-min-time", "5s", "clients may ping as they like, within a rate"),
    Absent("socket-reuse-port", "false", "one process listens on a port"),
    Absent("socket-reuse-address", "false", "is always on"),
    Absent("discovery", "", _DISCOVERY, True),
    Absent("discovery-fallback", "proxy", _DISCOVERY),
    Absent("discovery-proxy", "", _DISCOVERY, True),
    Absent("discovery-srv", "", _DISCOVERY, True),
    Absent("discovery-srv-name", "", _DISCOVERY, True),
    Absent("enable-v2", "false", _V2, True),
    Absent("v2-deprecation", "not-yet", _V2),
    Absent("experimental-enable-v2v3", "", _V2, True),
    Absent("proxy", "off", "the v2 proxy is not served", True),
    Absent("proxy-failure-wait", "5000", "the v2 proxy is not served"),
    Absent("proxy-refresh-interval", "30000", "the v2 proxy is not served"),
    Absent("proxy-dial-timeout", "1000", "the v2 proxy is not served"),
    Absent("proxy-write-timeout", "5000", "the v2 proxy is not served"),
    Absent("proxy-read-timeout", "0", "the v2 proxy is not served"),
    Absent("enable-pprof", "false", "there is no Go runtime to profile; py-spy looks at a running member"),
    Absent("metrics", "basic", "gRPC histograms are not measured: they would cost more than the calls"),
    Absent("log-outputs", "default", _ONE_LOG),
    Absent("log-package-levels", "", _ONE_LOG),
    Absent("enable-log-rotation", "false", _ONE_LOG),
    Absent("log-rotation-config-json", "", _ONE_LOG),
    Absent("log-format", "json", _ONE_LOG),
    Absent("experimental-enable-distributed-tracing", "false", _TRACING),
    Absent("experimental-distributed-tracing-address", "localhost:4317", _TRACING),
    Absent("experimental-distributed-tracing-service-name", "etcd", _TRACING),
    Absent("experimental-distributed-tracing-instance-id", "", _TRACING),
    Absent("experimental-enable-lease-checkpoint", "false", "a new leader extends every lease by its whole time"),
    Absent("experimental-enable-lease-checkpoint-persist", "false", "see --experimental-enable-lease-checkpoint"),
    Absent("experimental-compaction-batch-limit", "1000", "compaction runs in slices of time"),
    Absent("experimental-compaction-sleep-interval", "10ms", "compaction runs in slices of time"),
    Absent(
        "experimental-peer-skip-client-san-verification", "false", "peers are known by their certificate's authority"
    ),
    Absent("experimental-warning-apply-duration", "100ms", "see fluyt_loop_lag_seconds in /metrics"),
    Absent("experimental-warning-unary-request-duration", "300ms", "see fluyt_loop_lag_seconds in /metrics"),
    Absent("experimental-txn-mode-write-with-shared-buffer", "true", _BOLT),
    Absent("experimental-bootstrap-defrag-threshold-megabytes", "0", "freed pages are used again by themselves"),
    Absent("experimental-memory-mlock", "false", "memory is not locked"),
    Absent("force-new-cluster", "false", "use fluyt snapshot restore, which gives the cluster a new identity", True),
)


def options() -> list[click.Option]:
    """The flags, hidden from --help; a flag without a value is true, as of Go's booleans."""
    return [
        click.Option([f"--{absent.flag}"], default=None, hidden=True, is_flag=False, flag_value="true")
        if absent.default in ("true", "false")
        else click.Option([f"--{absent.flag}"], default=None, hidden=True)
        for absent in ABSENT
    ]


def take_out(flags: dict[str, Any]) -> list[str]:
    """Remove them from the values by name; a line for each that was given. Raises ConfigError for one refused."""
    remarks = []
    for absent in ABSENT:
        value = flags.pop(absent.flag.replace("-", "_"), None)
        if value is None or str(value) == absent.default:
            continue
        if absent.refused:
            raise ConfigError(f"--{absent.flag}={value} is not supported: {absent.why}")
        remarks.append(f"--{absent.flag} is ignored: {absent.why}")
    return remarks
