"""`fluyt controllers`: the controllers of one master, with kube-controller-manager's flags."""

from __future__ import annotations

import logging
import sys
from typing import Any

import click

BOOL = {"type": click.BOOL, "is_flag": False, "flag_value": "true"}

# (flag, option settings, help); names and defaults are kube-controller-manager's where the meaning is the same.
FLAGS: list[tuple[str, dict[str, Any], str]] = [
    ("kubeconfig", {"default": ""}, "File that says where the API servers are and who we are."),
    ("master", {"default": ""}, "URLs of the API servers, comma-separated; over those of --kubeconfig."),
    ("leader-elect", {**BOOL, "default": "true"}, "Act only while elected in the store; others stand by."),
    ("etcd-servers", {"default": "http://127.0.0.1:2379"}, "URLs of the store's members, for the election."),
    ("etcd-cafile", {"default": ""}, "Whom to trust as the store (PEM)."),
    ("etcd-certfile", {"default": ""}, "Our certificate for the store."),
    ("etcd-keyfile", {"default": ""}, "Key of --etcd-certfile."),
    ("identity", {"default": ""}, "What others see of the leader.  [default: host name and process id]"),
    ("controllers", {"default": "*"}, "Which run: * all, foo that one, -foo not that one; comma-separated."),
    ("bind-address", {"default": "127.0.0.1"}, "Address of the pages /healthz and /metrics."),
    ("secure-port", {"default": 10257, "type": click.IntRange(-1, 65535)}, "Their port; 0: any free one, -1: none."),
    ("port", {"default": None, "type": click.IntRange(-1, 65535)}, "The same as --secure-port."),
    ("tls-cert-file", {"default": ""}, "Certificate for these pages (PEM).  [default: plain HTTP]"),
    ("tls-private-key-file", {"default": ""}, "Key of --tls-cert-file."),
    ("root-ca-file", {"default": ""}, "CA that pods are told to trust.  [default: that of --kubeconfig]"),
    ("cluster-cidr", {"default": ""}, "Range of pods' addresses, one of each family, comma-separated."),
    ("allocate-node-cidrs", {**BOOL, "default": "true"}, "Give each node a part of --cluster-cidr."),
    ("node-cidr-mask-size", {"default": 0, "type": int}, "Prefix length of a node's part.  [default: 24; 64 for IPv6]"),
    ("node-monitor-grace-period", {"default": "40s"}, "Silence after which a node's state is unknown."),
    ("node-startup-grace-period", {"default": "1m0s"}, "The same for a node that was never heard of."),
    ("node-eviction-rate", {"default": 0.1, "type": float}, "Nodes a second whose pods are evicted at most."),
    (
        "secondary-node-eviction-rate",
        {"default": 0.01, "type": float},
        "The same while most nodes are silent, in large clusters.",
    ),
    ("unhealthy-zone-threshold", {"default": 0.55, "type": float}, "Part of silent nodes that is an outage."),
    ("large-cluster-size-threshold", {"default": 50, "type": int}, "Nodes above which a cluster is large."),
    ("terminated-pod-gc-threshold", {"default": 12500, "type": int}, "Finished pods that are kept; 0: all."),
    ("horizontal-pod-autoscaler-sync-period", {"default": "15s"}, "Time between two looks at the metrics."),
    ("horizontal-pod-autoscaler-tolerance", {"default": 0.1, "type": float}, "Deviation that changes nothing."),
    (
        "horizontal-pod-autoscaler-downscale-stabilization",
        {"default": "5m0s"},
        "How long a higher recommendation is kept to.",
    ),
    ("resource-quota-sync-period", {"default": "5m0s"}, "Time between two full counts of a quota."),
    ("concurrent-deployment-syncs", {"default": 5, "type": click.IntRange(1)}, "Deployments at work on at a time."),
    ("concurrent-replicaset-syncs", {"default": 5, "type": click.IntRange(1)}, "ReplicaSets at work on at a time."),
    ("concurrent-statefulset-syncs", {"default": 5, "type": click.IntRange(1)}, "StatefulSets at work on at a time."),
    ("concurrent-daemonset-syncs", {"default": 2, "type": click.IntRange(1)}, "DaemonSets at work on at a time."),
    ("concurrent-job-syncs", {"default": 5, "type": click.IntRange(1)}, "Jobs at work on at a time."),
    ("concurrent-cron-job-syncs", {"default": 5, "type": click.IntRange(1)}, "CronJobs at work on at a time."),
    ("concurrent-endpoint-syncs", {"default": 5, "type": click.IntRange(1)}, "Endpoints at work on at a time."),
    ("concurrent-service-endpoint-syncs", {"default": 5, "type": click.IntRange(1)}, "Slices at work on at a time."),
    ("concurrent-gc-syncs", {"default": 20, "type": click.IntRange(1)}, "Objects looked at by the garbage collector."),
    ("concurrent-namespace-syncs", {"default": 10, "type": click.IntRange(1)}, "Namespaces emptied at a time."),
    ("concurrent-resource-quota-syncs", {"default": 5, "type": click.IntRange(1)}, "Quotas counted at a time."),
    ("concurrent-serviceaccount-token-syncs", {"default": 5, "type": click.IntRange(1)}, "Namespaces at a time."),
    (
        "concurrent-horizontal-pod-autoscaler-syncs",
        {"default": 5, "type": click.IntRange(1)},
        "Autoscalers at work on at a time.",
    ),
    (
        "concurrent-ttl-after-finished-syncs",
        {"default": 5, "type": click.IntRange(1)},
        "Finished jobs looked at at a time.",
    ),
    ("v", {"default": 0, "type": int}, "Verbosity of the log: 4 and more also tell of every conflict."),
]


@click.command("controllers", context_settings={"auto_envvar_prefix": "FLUYT_CONTROLLERS"})
@click.pass_context
def controllers(ctx: click.Context, /, **flags: Any) -> None:
    """Run the controllers; on every master, of which the one that is elected in the store acts.

    \b
      fluyt controllers --kubeconfig controllers.conf --etcd-servers https://10.0.0.1:2379,https://10.0.0.2:2379 \\
        --etcd-cafile pki/store-ca.crt --etcd-certfile pki/store-client.crt --etcd-keyfile pki/store-client.key
    """
    from control.cli.controllers_settings import FlagError, settings_of
    from control.client.errors import ConfigError

    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if flags["v"] >= 4 else logging.INFO,
        format="%(asctime)s %(levelname).1s %(name)s: %(message)s",
    )
    try:
        settings = settings_of(flags)
    except (FlagError, ConfigError) as problem:
        click.echo(f"fluyt controllers: {problem}", err=True)
        sys.exit(2)
    import uvloop

    sys.exit(uvloop.run(_run(settings)))


async def _run(settings: Any) -> int:
    from control.controllers.process import Controllers
    from kvstore.cli.signals import Stop

    process = Controllers(settings)
    try:
        await process.start()
    except OSError as problem:
        click.echo(f"fluyt controllers: {problem}", err=True)
        await process.stop()
        return 1
    # Whoever started us may wait for this line.
    logging.getLogger("fluyt.controllers").info("pages on port %d", process.pages.port)
    async with Stop() as stop:
        failed = await stop.unless(_ended(process))
        await process.stop()
    return 1 if failed else 0


async def _ended(process: Any) -> bool:
    """Waits for a mistake that ends everything; says it."""
    try:
        await process.ended
    except Exception as mistake:
        logging.getLogger("fluyt.controllers").exception("ended by a mistake: %s", mistake)
    return True


for _flag, _settings, _help in FLAGS:
    controllers = click.option(f"--{_flag}", help=_help, show_default=bool(_settings.get("default")), **_settings)(
        controllers
    )
