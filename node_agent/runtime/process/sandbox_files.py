"""/etc/hosts and /etc/resolv.conf of a sandbox. Pure. Source: hosts(5), resolv.conf(5); what the kubelet writes."""

from __future__ import annotations

from node_agent.runtime.types import Dns, SandboxConfig

_LOCAL = (
    ("127.0.0.1", "localhost"),
    ("::1", "localhost ip6-localhost ip6-loopback"),
    ("fe00::0", "ip6-localnet"),
    ("ff02::1", "ip6-allnodes"),
    ("ff02::2", "ip6-allrouters"),
)


def hosts(config: SandboxConfig, ips: tuple[str, ...], hostname: str) -> str:
    """The usual names, the pod's own under its addresses, and what it asked for."""
    rows = [*_LOCAL, *((address, hostname) for address in (ips or ("127.0.1.1",)))]
    rows += [(address, " ".join(names)) for address, names in config.hosts]
    return "".join(f"{address}\t{names}\n" for address, names in rows)


def resolv_conf(dns: Dns, machines: str) -> str:
    """What was asked for; the machine's own where nothing was."""
    if not (dns.servers or dns.searches or dns.options):
        return machines
    lines = [f"nameserver {server}" for server in dns.servers]
    if dns.searches:
        lines.append("search " + " ".join(dns.searches))
    if dns.options:
        lines.append("options " + " ".join(dns.options))
    return "\n".join(lines) + "\n"
