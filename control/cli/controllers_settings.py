"""From the flags of `fluyt controllers` to the process's settings."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Final

from control.cli.elected import FILES, FlagError, candidacy, check_files, words
from control.cli.signing import SignerOnDemand
from control.client.config import Config
from control.controllers.choice import chosen
from control.controllers.reconcilers.autoscaler.reconciler import Settings as AutoscalerSettings
from control.controllers.reconcilers.nodes.lifecycle import Limits
from control.controllers.registry import Settings
from control.controllers.registry import controllers as every_controller
from control.controllers.running.process import ProcessSettings
from kvstore.cli.durations import parse

_SIGNING: Final = ("cluster_signing_cert_file", "cluster_signing_key_file")
# Flag → the controller whose keys it counts.
_WORKERS: Final = {
    "concurrent_deployment_syncs": "deployment-controller",
    "concurrent_replicaset_syncs": "replicaset-controller",
    "concurrent_statefulset_syncs": "statefulset-controller",
    "concurrent_daemonset_syncs": "daemonset-controller",
    "concurrent_job_syncs": "job-controller",
    "concurrent_cron_job_syncs": "cronjob-controller",
    "concurrent_endpoint_syncs": "endpoints-controller",
    "concurrent_service_endpoint_syncs": "endpointslice-controller",
    "concurrent_gc_syncs": "garbage-collector-controller",
    "concurrent_namespace_syncs": "namespace-controller",
    "concurrent_resource_quota_syncs": "resourcequota-controller",
    "concurrent_serviceaccount_token_syncs": "serviceaccount-controller",
    "concurrent_horizontal_pod_autoscaler_syncs": "horizontal-pod-autoscaler-controller",
    "concurrent_ttl_after_finished_syncs": "ttl-after-finished-controller",
}


def settings_of(flags: dict[str, Any]) -> ProcessSettings:
    """flags: values by flag name with underscores. Raises FlagError, ConfigError."""
    check_files(flags, (*FILES, "root_ca_file", *_SIGNING))
    settings = candidacy(flags, "controllers")
    if flags["port"] is not None:
        settings["port"] = None if flags["port"] < 0 else flags["port"]
    every = every_controller(_controllers(flags, settings["api"]))
    try:
        on = chosen(every, words(flags["controllers"]) or ["*"])
    except ValueError as problem:
        raise FlagError(f"--controllers: {problem}") from None
    return ProcessSettings(**settings, controllers=on)


def _controllers(flags: dict[str, Any], api: Config) -> Settings:
    networks = _networks(flags) if flags["allocate_node_cidrs"] else []
    return Settings(
        root_ca=_root_ca(flags, api),
        signer=_signer(flags),
        cluster_cidr=networks,
        node_mask_sizes=[_mask(flags, network) for network in networks],
        terminated_pods=flags["terminated_pod_gc_threshold"],
        nodes=Limits(
            grace=_seconds(flags, "node_monitor_grace_period"),
            startup=_seconds(flags, "node_startup_grace_period"),
            rate=flags["node_eviction_rate"],
            slow_rate=flags["secondary_node_eviction_rate"],
            unhealthy=flags["unhealthy_zone_threshold"],
            large=flags["large_cluster_size_threshold"],
        ),
        autoscaler=AutoscalerSettings(
            every=_seconds(flags, "horizontal_pod_autoscaler_sync_period"),
            tolerance=flags["horizontal_pod_autoscaler_tolerance"],
            window=_seconds(flags, "horizontal_pod_autoscaler_downscale_stabilization"),
        ),
        quota_resync=_seconds(flags, "resource_quota_sync_period"),
        workers={controller: flags[flag] for flag, controller in _WORKERS.items()},
    )


def _seconds(flags: dict[str, Any], name: str) -> float:
    try:
        return parse(flags[name])
    except ValueError as problem:
        raise FlagError(f"--{name.replace('_', '-')}: {problem}") from None


def _root_ca(flags: dict[str, Any], api: Config) -> str:
    """The CA that pods are told to trust; "" when nobody says one."""
    if flags["root_ca_file"]:
        return Path(flags["root_ca_file"]).read_text(encoding="ascii", errors="replace")
    if api.ca is None:
        return ""
    pem = api.ca if isinstance(api.ca, bytes) else api.ca.read_bytes()
    return pem.decode("ascii", "replace")


def _signer(flags: dict[str, Any]) -> SignerOnDemand | None:
    """Who signs certificates; None without an authority."""
    certificate, key = (flags[name] for name in _SIGNING)
    if not certificate and not key:
        return None
    if not certificate or not key:
        raise FlagError("--cluster-signing-cert-file and --cluster-signing-key-file belong together")
    longest = timedelta(seconds=_seconds(flags, "cluster_signing_duration"))
    try:
        return SignerOnDemand(Path(certificate), Path(key), longest)
    except (OSError, ValueError) as problem:
        raise FlagError(f"--cluster-signing-cert-file {certificate}: {problem}") from None


def _networks(flags: dict[str, Any]) -> list[IPv4Network | IPv6Network]:
    try:
        return [ip_network(word) for word in words(flags["cluster_cidr"])]
    except ValueError as problem:
        raise FlagError(f"--cluster-cidr: {problem}") from None


def _mask(flags: dict[str, Any], network: IPv4Network | IPv6Network) -> int:
    size = int(flags["node_cidr_mask_size"]) or (24 if network.version == 4 else 64)
    if not network.prefixlen <= size <= network.max_prefixlen or size - network.prefixlen > 16:
        raise FlagError(
            f"--node-cidr-mask-size {size} does not fit {network}: it must be {network.prefixlen} to "
            f"{min(network.max_prefixlen, network.prefixlen + 16)}"
        )
    return size
