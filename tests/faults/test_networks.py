"""The networks that drills and benchmarks make for themselves."""

from __future__ import annotations

import os

from harness.network import Network, impossible
from harness.require import missing


def test_one_can_be_made_where_another_was_a_moment_ago() -> None:
    """Namespaces end some time after they were removed; the names of their links must be free before."""
    reason = impossible()
    if reason:
        missing(reason)
    for _ in range(5):
        with Network(3) as network:
            links = {one for one in os.listdir("/sys/class/net") if one.startswith(f"flt{os.getpid() % 100_000:05d}")}
            assert len(links) == len(network.prefixes) + 1
        assert not links & set(os.listdir("/sys/class/net"))
