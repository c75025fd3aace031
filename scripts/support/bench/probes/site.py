"""What a measurement acts on: a cluster of three that runs, and what is asked of it over and over."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from harness.cluster import Cluster
from harness.network import Network

from kvstore.pb.etcd_pb2 import PutRequest, RangeRequest
from support.bench.plan import Plan

PUT, RANGE, TXN = "/etcdserverpb.KV/Put", "/etcdserverpb.KV/Range", "/etcdserverpb.KV/Txn"
VALUE = b"v" * 256
KEY = b"/bench/one-key"
# Source (rows.py) and value.
Values = Iterator[tuple[str, float]]


def _new_keys() -> Iterator[bytes]:
    for number in itertools.count():
        # Spread over the key space as a hash would; the factor is odd, so no number comes twice within 2**32.
        yield b"/bench/%010d" % (number * 2654435761 % (1 << 32))


@dataclass
class Site:
    """The cluster, how much is asked of it, and the network of members that have one of their own."""

    cluster: Cluster
    plan: Plan
    network: Network | None = None
    keys: Iterator[bytes] = field(default_factory=_new_keys)

    @property
    def leader(self) -> str:
        """host:port of the member that leads."""
        return self.cluster.endpoints[self.cluster.leader()]

    @property
    def leader_pid(self) -> int:
        """Its process."""
        process = self.cluster.members[self.cluster.leader()].process
        assert process is not None
        return process.pid

    @property
    def followers(self) -> list[str]:
        """host:port of the others."""
        return [self.cluster.endpoints[index] for index in self.cluster.followers()]

    def revision(self) -> int:
        """The store's."""
        return int(self.cluster.stub().Range(RangeRequest(key=KEY), timeout=10).header.revision)

    def put_one(self) -> None:
        """The one key is there."""
        self.cluster.stub().Put(PutRequest(key=KEY, value=VALUE), timeout=10)


@dataclass(frozen=True)
class Probe:
    """One measurement: the names of the rows that it can fill, and how. run raises when it could not be done."""

    title: str
    rows: tuple[str, ...]
    run: Callable[[Site], Values]


def resident(pid: int) -> tuple[float, float]:
    """(RSS, RSS without mapped files) of a process in MiB."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    whole, anonymous = (int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "RssAnon"))
    return whole, anonymous
