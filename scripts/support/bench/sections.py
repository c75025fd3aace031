"""Which measurements share a cluster: each section starts its own, so that one that fails does not lose the rest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from harness.binaries import Kind
from harness.cluster import Cluster
from harness.network import Network, impossible

from support.bench.plan import Plan
from support.bench.probes.holds import HOLDS
from support.bench.probes.leases import LEASES
from support.bench.probes.many_keys import MANY_KEYS
from support.bench.probes.outages import CUTS, KILLS
from support.bench.probes.requests import CLIENTS, REQUESTS
from support.bench.probes.site import Probe, Site
from support.bench.probes.watching import WATCHING


@dataclass(frozen=True)
class Section:
    """Probes that share a cluster. network: members have namespaces of their own. all_kinds: also etcd 3.4, unasked."""

    name: str
    probes: tuple[Probe, ...]
    network: bool = False
    all_kinds: bool = False

    def wanted(self, rows: frozenset[str]) -> tuple[Probe, ...]:
        """The probes of which a row is wanted."""
        return tuple(probe for probe in self.probes if rows & set(probe.rows))

    def impossible(self) -> str | None:
        """Why this machine cannot do it; None if it can."""
        return impossible() if self.network else None


# In the order of the rows, so that a run that is cut short has those that the issue asks for.
SECTIONS = (
    Section("requests", REQUESTS, all_kinds=True),
    Section("watches", WATCHING),
    Section("many keys", MANY_KEYS),
    Section("leases", LEASES),
    Section("kills", KILLS),
    Section("cuts", CUTS, network=True),
    Section("long work", HOLDS),
    Section("clients", CLIENTS),
)


@contextmanager
def site(section: Section, kind: Kind, plan: Plan) -> Iterator[Site]:
    """A cluster for the section; all of it ends with the block."""
    with ExitStack() as stack:
        network = stack.enter_context(Network(3)) if section.network else None
        hosts, prefixes = (network.hosts, network.prefixes) if network else ((), ())
        cluster = stack.enter_context(Cluster(kind, 3, hosts=hosts, prefixes=prefixes))
        yield Site(cluster, plan, network)
