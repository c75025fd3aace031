"""From the flags of `fluyt apiserver` to the server's Settings."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

from control.apiserver.settings import Settings
from kvstore.cli.durations import parse

_MODES = ("Node", "RBAC", "AlwaysAllow", "AlwaysDeny")
_FILES = (
    "etcd_cafile",
    "etcd_certfile",
    "etcd_keyfile",
    "tls_cert_file",
    "tls_private_key_file",
    "client_ca_file",
    "kubelet_client_certificate",
    "kubelet_client_key",
    "kubelet_certificate_authority",
    "token_auth_file",
    "service_account_signing_key_file",
    "requestheader_client_ca_file",
    "encryption_provider_config",
    "audit_policy_file",
)


class FlagError(Exception):
    """A flag's value that does not do; the text says which and why."""


def settings_of(flags: dict[str, Any]) -> Settings:
    """flags: values by flag name with underscores. Raises FlagError."""
    _check_files(flags)
    servers = _words(flags["etcd_servers"])
    if not servers:
        raise FlagError("--etcd-servers must name at least one URL")
    return Settings(
        etcd_servers=servers,
        etcd_ca=flags["etcd_cafile"],
        etcd_cert=flags["etcd_certfile"],
        etcd_key=flags["etcd_keyfile"],
        store_timeout=_seconds(flags, "store-timeout"),
        bind_address=flags["bind_address"],
        secure_port=flags["secure_port"],
        advertise_address=flags["advertise_address"],
        tls_cert=flags["tls_cert_file"],
        tls_key=flags["tls_private_key_file"],
        client_ca=flags["client_ca_file"],
        kubelet_cert=flags["kubelet_client_certificate"],
        kubelet_key=flags["kubelet_client_key"],
        kubelet_ca=flags["kubelet_certificate_authority"] or flags["client_ca_file"],
        service_cluster_ip_range=_network(flags["service_cluster_ip_range"]),
        node_ports=_ports(flags["service_node_port_range"]),
        event_ttl=int(_seconds(flags, "event-ttl")),
        cause_ttl=int(_seconds(flags, "cause-ttl")),
        request_timeout=_seconds(flags, "request-timeout"),
        shutdown_seconds=_seconds(flags, "shutdown-grace-period"),
        token_auth_file=flags["token_auth_file"],
        service_account_key_files=tuple(flags["service_account_key_file"]),
        service_account_signing_key=flags["service_account_signing_key_file"],
        service_account_issuer=flags["service_account_issuer"],
        api_audiences=_words(flags["api_audiences"]),
        authorization_modes=_modes(flags["authorization_mode"]),
        anonymous_auth=flags["anonymous_auth"],
        requestheader_client_ca=flags["requestheader_client_ca_file"],
        requestheader_allowed_names=_words(flags["requestheader_allowed_names"]),
        enable_admission=_words(flags["enable_admission_plugins"]),
        disable_admission=_words(flags["disable_admission_plugins"]),
        encryption_config=flags["encryption_provider_config"],
        audit_log_path=flags["audit_log_path"],
        audit_policy=flags["audit_policy_file"],
        audit_log_maxage=flags["audit_log_maxage"],
        audit_log_maxbackup=flags["audit_log_maxbackup"],
        audit_log_maxsize=flags["audit_log_maxsize"],
        max_requests_inflight=flags["max_requests_inflight"],
        max_mutating_requests_inflight=flags["max_mutating_requests_inflight"],
    )


def _check_files(flags: dict[str, Any]) -> None:
    named = [(name, flags[name]) for name in _FILES]
    named += [("service_account_key_file", path) for path in flags["service_account_key_file"]]
    for name, path in named:
        if path and not Path(path).is_file():
            raise FlagError(f"--{name.replace('_', '-')}: there is no file {path}")
    if not (flags["tls_cert_file"] and flags["tls_private_key_file"]):
        raise FlagError("--tls-cert-file and --tls-private-key-file are needed: the server speaks HTTPS only")


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for part in text.split(",") if (word := part.strip()))


def _network(text: str) -> Any:
    try:
        # Two ranges (dual stack) may be given; the first one counts.
        return ip_network(text.split(",")[0].strip())
    except ValueError as problem:
        raise FlagError(f"--service-cluster-ip-range: {problem}") from None


def _ports(text: str) -> tuple[int, int]:
    first, separator, last = text.partition("-")
    if separator and first.strip().isdigit() and last.strip().isdigit() and 0 < int(first) <= int(last) <= 65535:
        return int(first), int(last)
    raise FlagError(f"--service-node-port-range must be FIRST-LAST, not {text!r}")


def _modes(text: str) -> tuple[str, ...]:
    modes = _words(text)
    unknown = [mode for mode in modes if mode not in _MODES]
    if unknown or not modes:
        raise FlagError(f"--authorization-mode must be some of {', '.join(_MODES)}, not {text!r}")
    return modes


def _seconds(flags: dict[str, Any], name: str) -> float:
    try:
        return parse(flags[name.replace("-", "_")])
    except ValueError as problem:
        raise FlagError(f"--{name}: {problem}") from None
