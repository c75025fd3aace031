"""From the flags of `fluyt agent` to the agent's settings."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

from control.api.quantity import Quantity
from control.api.status import StatusError
from kvstore.cli.durations import parse
from node_agent.network.settings import NetworkSettings
from node_agent.node.settings import NodeSettings
from node_agent.node.thresholds import Threshold, parse_thresholds
from node_agent.pod.network import ClusterDns
from node_agent.runtimes import NAMES
from node_agent.settings import AgentSettings

T = TypeVar("T")

_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_FILES = ("kubeconfig", "tls_cert_file", "tls_private_key_file", "client_ca_file")


class FlagError(Exception):
    """A flag's value that does not do; the text says which and why."""


def settings_of(flags: Mapping[str, Any]) -> AgentSettings:
    """flags: values by flag name with underscores. Raises FlagError."""
    for name in _FILES:
        if flags[name] and not Path(flags[name]).is_file():
            raise FlagError(f"--{name.replace('_', '-')}: there is no file {flags[name]}")
    if bool(flags["tls_cert_file"]) != bool(flags["tls_private_key_file"]):
        raise FlagError("--tls-cert-file and --tls-private-key-file belong together")
    return AgentSettings(
        node=node_settings(flags),
        kubeconfig=flags["kubeconfig"],
        runtime=_runtime(flags),
        endpoint=flags["container_runtime_endpoint"],
        root=Path(flags["root_dir"]).absolute(),
        log_root=Path(flags["pod_log_dir"]).absolute() if flags["pod_log_dir"] else None,
        address=flags["address"],
        tls_cert=flags["tls_cert_file"],
        tls_key=flags["tls_private_key_file"],
        client_ca=flags["client_ca_file"],
        rotate_client=flags["rotate_certificates"],
        rotate_server=flags["rotate_server_certificates"],
        static_pods=Path(flags["pod_manifest_path"]) if flags["pod_manifest_path"] else None,
        static_period=_seconds(flags, "file-check-frequency"),
        simulated_nodes=flags["simulated_nodes"],
        simulated_seed=flags["simulated_seed"],
        simulated_error_rate=flags["simulated_error_rate"],
        network=_network(flags),
    )


def _network(flags: Mapping[str, Any]) -> NetworkSettings:
    bridge = flags["pod_network"] == "bridge"
    if bridge and _runtime(flags) != "process":
        raise FlagError("--pod-network=bridge: it is the runtime process's; docker and cri have --pod-network=runtime")
    return NetworkSettings(
        proxy_mode=flags["proxy_mode"],
        bridge=bridge,
        serve_dns=flags["serve_dns"],
        resolv_conf=flags["resolv_conf"],
    )


def node_settings(flags: Mapping[str, Any]) -> NodeSettings:
    """Raises FlagError."""
    reserved = _sum(_quantities(flags, "system-reserved"), _quantities(flags, "kube-reserved"))
    return NodeSettings(
        name=(flags["hostname_override"] or socket.gethostname()).lower(),
        ips=_addresses(flags["node_ip"]),
        port=flags["port"],
        labels=_pairs("--node-labels", flags["node_labels"]),
        taints=tuple(_taint(text) for text in _words(flags["register_with_taints"])),
        register=flags["register_node"],
        unschedulable=not flags["register_schedulable"],
        capacity=_quantities(flags, "capacity"),
        reserved=reserved,
        max_pods=flags["max_pods"],
        pod_pids=max(flags["pod_max_pids"], 0),
        provider_id=flags["provider_id"],
        status_frequency=_seconds(flags, "node-status-update-frequency"),
        report_frequency=_seconds(flags, "node-status-report-frequency"),
        lease_seconds=flags["node_lease_duration_seconds"],
        eviction_hard=_thresholds("--eviction-hard", flags["eviction_hard"], {}),
        eviction_soft=_soft(flags),
        eviction_max_grace=float(flags["eviction_max_pod_grace_period"]),
        pressure_transition=_seconds(flags, "eviction-pressure-transition-period"),
        image_high=flags["image_gc_high_threshold"],
        image_low=_low(flags),
        image_min_age=_seconds(flags, "minimum-image-ttl-duration"),
        image_max_age=_seconds(flags, "image-maximum-gc-age"),
        dead_containers_each=max(flags["maximum_dead_containers_per_container"], 0),
        dead_containers_all=flags["maximum_dead_containers"],
        log_max_size=_quantity("--container-log-max-size", flags["container_log_max_size"]).ceil(),
        log_max_files=flags["container_log_max_files"],
        dns=ClusterDns(tuple(_words(flags["cluster_dns"])), flags["cluster_domain"]),
        pod_network=flags["pod_network"] in ("runtime", "bridge"),
        pod_loopback=flags["pod_network"] == "loopback",
        sync_frequency=_seconds(flags, "sync-frequency"),
    )


def _runtime(flags: Mapping[str, Any]) -> str:
    name, endpoint = flags["runtime"], flags["container_runtime_endpoint"]
    if flags["simulated_nodes"]:
        name = name or "simulated"
        if name != "simulated":
            raise FlagError(f"--simulated-nodes: fake nodes have the runtime simulated, not {name}")
    if not name:
        name = "process" if not endpoint else "docker" if "docker" in endpoint else "cri"
    if name not in NAMES:
        raise FlagError(f"--runtime: {name!r} is none of {', '.join(NAMES)}")
    return str(name)


def _low(flags: Mapping[str, Any]) -> int:
    high, low = flags["image_gc_high_threshold"], flags["image_gc_low_threshold"]
    if low > high:
        raise FlagError("--image-gc-low-threshold must not be above --image-gc-high-threshold")
    return int(low)


def _soft(flags: Mapping[str, Any]) -> tuple[Threshold, ...]:
    pairs = _pairs("--eviction-soft-grace-period", flags["eviction_soft_grace_period"])
    graces = {signal: _checked("--eviction-soft-grace-period", text, parse) for signal, text in pairs.items()}
    found = _thresholds("--eviction-soft", flags["eviction_soft"], graces)
    for threshold in found:
        if threshold.signal not in graces:
            raise FlagError(f"--eviction-soft: {threshold.signal} needs its time in --eviction-soft-grace-period")
    return found


def _thresholds(flag: str, text: str, graces: Mapping[str, float]) -> tuple[Threshold, ...]:
    return _checked(flag, text, lambda value: parse_thresholds(value, graces))


def _seconds(flags: Mapping[str, Any], flag: str) -> float:
    return _checked(f"--{flag}", flags[flag.replace("-", "_")], parse)


def _checked(flag: str, text: str, read: Callable[[str], T]) -> T:
    try:
        return read(text)
    except ValueError as problem:
        raise FlagError(f"{flag}: {problem}") from None


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _pairs(flag: str, text: str) -> dict[str, str]:
    found = {}
    for word in _words(text):
        key, equals, value = word.partition("=")
        if not key or not equals:
            raise FlagError(f"{flag}: {word!r} is no key=value")
        found[key] = value
    return found


def _taint(text: str) -> dict[str, str]:
    pair, colon, effect = text.rpartition(":")
    key, _, value = pair.partition("=")
    if not colon or not key or effect not in _EFFECTS:
        raise FlagError(f"--register-with-taints: {text!r} is no key=value:effect; effects are {', '.join(_EFFECTS)}")
    return {"key": key, "effect": effect} | ({"value": value} if value else {})


def _quantities(flags: Mapping[str, Any], flag: str) -> dict[str, str]:
    pairs = _pairs(f"--{flag}", flags[flag.replace("-", "_")])
    return {name: str(_quantity(f"--{flag}", text)) for name, text in pairs.items()}


def _quantity(flag: str, text: str) -> Quantity:
    try:
        return Quantity.parse(text)
    except (StatusError, ValueError) as problem:
        raise FlagError(f"{flag}: {problem}") from None


def _sum(one: dict[str, str], two: dict[str, str]) -> dict[str, str]:
    found = dict(one)
    for name, text in two.items():
        found[name] = str(Quantity.parse(found.get(name, "0")) + Quantity.parse(text))
    return found


def _addresses(text: str) -> tuple[str, ...]:
    words = _words(text) or [_own_address()]
    for word in words:
        try:
            ip_address(word)
        except ValueError:
            raise FlagError(f"--node-ip: {word!r} is no IP address") from None
    return tuple(words)


def _own_address() -> str:
    """The machine's address on the way to others; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"
