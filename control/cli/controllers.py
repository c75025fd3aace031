"""`fluyt controllers`: the controllers of one master, with kube-controller-manager's flags."""

from __future__ import annotations

from typing import Any, Final

import click

from control.cli import elected

# (flag, option settings, help); names and defaults are kube-controller-manager's where the meaning is the same.
FLAGS: Final[elected.Flags] = [
    *elected.SERVERS,
    ("controllers", {"default": "*"}, "Which run: * all, foo that one, -foo not that one; comma-separated."),
    *elected.pages(10257),
    ("port", {"default": None, "type": click.IntRange(-1, 65535)}, "The same as --secure-port."),
    ("root-ca-file", {"default": ""}, "CA that pods are told to trust.  [default: that of --kubeconfig]"),
    ("cluster-signing-cert-file", {"default": ""}, "Authority that signs certificates; without it nobody here does."),
    ("cluster-signing-key-file", {"default": ""}, "Key of --cluster-signing-cert-file."),
    ("cluster-signing-duration", {"default": "8760h0m0s"}, "How long signed certificates last at most."),
    ("cluster-cidr", {"default": ""}, "Range of pods' addresses, one of each family, comma-separated."),
    ("allocate-node-cidrs", {**elected.BOOL, "default": "true"}, "Give each node a part of --cluster-cidr."),
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
    *elected.VERBOSITY,
]


@click.command("controllers", context_settings={"auto_envvar_prefix": "FLUYT_CONTROLLERS"})
def controllers(**flags: Any) -> None:
    """Run the controllers; on every master, of which the one that is elected in the store acts.

    \b
      fluyt controllers --kubeconfig controllers.conf --etcd-servers https://10.0.0.1:2379,https://10.0.0.2:2379 \\
        --etcd-cafile pki/store-ca.crt --etcd-certfile pki/store-client.crt --etcd-keyfile pki/store-client.key
    """

    def make() -> Any:
        from control.cli.controllers_settings import settings_of
        from control.controllers.running.process import Controllers

        return Controllers(settings_of(flags))

    elected.run("controllers", flags, make)


controllers = elected.with_flags(controllers, FLAGS)
