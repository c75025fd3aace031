"""`fluyt agent`: run a node, with the kubelet's flags."""

from __future__ import annotations

import logging
import sys
from typing import Any

import click

from node_agent.network.settings import POD_NETWORKS, PROXY_MODES

BOOL = {"type": click.BOOL, "is_flag": False, "flag_value": "true"}

# (flag, option settings, help); names and defaults are the kubelet's where the meaning is the same.
FLAGS: list[tuple[str, dict[str, Any], str]] = [
    ("kubeconfig", {"default": ""}, "Where the API server is, and who we are.  [default: KUBECONFIG]"),
    ("hostname-override", {"default": ""}, "Name of the node.  [default: the machine's]"),
    ("node-ip", {"default": ""}, "Addresses of the node, comma-separated.  [default: the machine's]"),
    ("node-labels", {"default": ""}, "Labels to put on the node: a=b,c=d."),
    ("register-node", {**BOOL, "default": "true"}, "Register the node with the API server."),
    ("register-with-taints", {"default": ""}, "Taints of a new node: key=value:effect, comma-separated."),
    ("register-schedulable", {**BOOL, "default": "true"}, "Whether a new node takes pods."),
    ("provider-id", {"default": ""}, "The machine's name at a cloud provider."),
    ("runtime", {"default": "", "metavar": "NAME"}, "process, docker, cri or simulated.  [default: by the endpoint]"),
    ("container-runtime-endpoint", {"default": ""}, "Socket of Docker or of a CRI runtime: unix:///run/….sock."),
    ("root-dir", {"default": "/var/lib/fluyt/agent"}, "Folder of the agent: volumes, logs, images."),
    ("pod-log-dir", {"default": ""}, "Folder of the containers' logs.  [default: ROOT-DIR/logs/pods]"),
    ("pod-manifest-path", {"default": ""}, "Folder with static pods."),
    ("file-check-frequency", {"default": "20s"}, "How often the static pods are looked at."),
    ("address", {"default": "0.0.0.0"}, "Address that the agent's server listens on."),
    ("port", {"default": 10250, "type": click.IntRange(0, 65535)}, "Port of the agent's server; 0: any free one."),
    ("tls-cert-file", {"default": ""}, "Certificate of the agent's server.  [default: a self-signed one]"),
    ("tls-private-key-file", {"default": ""}, "Key of --tls-cert-file."),
    ("client-ca-file", {"default": ""}, "Authority of those who may call.  [default: that of the kubeconfig]"),
    ("rotate-certificates", {**BOOL, "default": "true"}, "Ask the cluster for a new login before the node's ends."),
    ("rotate-server-certificates", {**BOOL, "default": "true"}, "The same for the certificate of the agent's server."),
    ("max-pods", {"default": 110, "type": click.IntRange(1)}, "Most pods on the node."),
    ("pod-max-pids", {"default": -1, "type": int}, "Most processes of a container; -1: no limit."),
    ("system-reserved", {"default": ""}, "Kept from pods: cpu=500m,memory=1Gi,ephemeral-storage=1Gi."),
    ("kube-reserved", {"default": ""}, "The same, on top of it."),
    ("capacity", {"default": ""}, "What the node says it has, over what the machine has: cpu=32,memory=64Gi."),
    ("node-status-update-frequency", {"default": "10s"}, "How often the node's status is looked at."),
    ("node-status-report-frequency", {"default": "5m"}, "How often it is reported though nothing changed."),
    ("node-lease-duration-seconds", {"default": 40, "type": click.IntRange(4)}, "Seconds that the node's Lease lasts."),
    ("sync-frequency", {"default": "1m"}, "How often volumes are brought up to date at least."),
    (
        "eviction-hard",
        {"default": "memory.available<100Mi,nodefs.available<10%,nodefs.inodesFree<5%,imagefs.available<15%"},
        "Thresholds below which pods are evicted at once.",
    ),
    ("eviction-soft", {"default": ""}, "Thresholds below which pods are evicted after their grace period."),
    ("eviction-soft-grace-period", {"default": ""}, "Of --eviction-soft: memory.available=1m30s,…"),
    ("eviction-max-pod-grace-period", {"default": 0, "type": int}, "Most seconds that a softly evicted pod gets."),
    ("eviction-pressure-transition-period", {"default": "5m"}, "How long pressure is told of after it is over."),
    ("image-gc-high-threshold", {"default": 85, "type": click.IntRange(0, 100)}, "Disk use (%) above which images go."),
    ("image-gc-low-threshold", {"default": 80, "type": click.IntRange(0, 100)}, "Percent at which that stops."),
    ("minimum-image-ttl-duration", {"default": "2m"}, "Younger images stay."),
    ("image-maximum-gc-age", {"default": "0s"}, "Images unused for longer go; 0s: however long."),
    ("maximum-dead-containers-per-container", {"default": 1, "type": int}, "Dead runs kept per container."),
    ("maximum-dead-containers", {"default": -1, "type": int}, "Dead runs kept on the node; -1: any number."),
    ("container-log-max-size", {"default": "10Mi"}, "Size at which a container's log is rotated."),
    ("container-log-max-files", {"default": 5, "type": click.IntRange(2)}, "Files kept of a container's log."),
    ("cluster-dns", {"default": ""}, "Addresses of the cluster's DNS, comma-separated."),
    ("cluster-domain", {"default": "cluster.local"}, "Domain of the cluster."),
    ("resolv-conf", {"default": "/etc/resolv.conf"}, "The machine's resolvers, for DNS; empty: none."),
    ("serve-dns", {**BOOL, "default": "true"}, "Answer the cluster's names on this node, where port 53 can be had."),
    ("proxy-mode", {"default": "auto", "type": click.Choice(PROXY_MODES)}, "How Services are brought to their pods."),
    ("pod-network", {"default": "host", "type": click.Choice(POD_NETWORKS)},
     "Whose network pods have; loopback: the node's, with a 127.x.y.z of their own; bridge: addresses of the node's "
     "podCIDR, for the runtime process; runtime: the container runtime's."),
    ("simulated-nodes", {"default": 0, "type": click.IntRange(0, 50_000)}, "Be that many fake nodes in this process."),
    ("simulated-seed", {"default": 0, "type": int}, "Seed of the fake nodes' chance."),
    ("simulated-error-rate", {"default": 0.0, "type": click.FloatRange(0, 0.9)},
     "Fraction of the fake runtimes' operations that fails."),
    ("v", {"default": 0, "type": int}, "Verbosity of the log: 4 and more also tell details."),
]  # fmt: skip


@click.command("agent", context_settings={"auto_envvar_prefix": "FLUYT_AGENT"})
@click.pass_context
def agent(ctx: click.Context, /, **flags: Any) -> None:
    """Run a node: its pods' containers, probes, volumes and logs.

    \b
      fluyt agent --kubeconfig node-n1.conf --hostname-override n1
      fluyt agent --kubeconfig node-n1.conf --runtime cri \\
        --container-runtime-endpoint unix:///run/containerd/containerd.sock
      fluyt agent --kubeconfig admin.conf --simulated-nodes 1000 --hostname-override sim

    Stopping the agent ends no container: it finds them again when it starts.
    """
    import uvloop

    from control.cli.agent_settings import FlagError, settings_of
    from control.client.errors import ConfigError
    from node_agent.process import run

    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if flags["v"] >= 4 else logging.INFO,
        format="%(asctime)s %(levelname).1s %(name)s: %(message)s",
    )
    try:
        uvloop.run(run(settings_of(flags)))
    except (FlagError, ConfigError, ValueError) as problem:
        raise click.ClickException(f"fluyt agent: {problem}") from None
    except OSError as problem:
        where = f": {problem.filename}" if problem.filename else ""
        raise click.ClickException(f"fluyt agent: {problem.strerror or problem}{where}") from None


for _flag, _settings, _help in reversed(FLAGS):
    agent = click.option(f"--{_flag}", help=_help, show_default=bool(_settings.get("default")), **_settings)(agent)
