"""Every drill that needs a network of its own: partitions of all kinds under load, the whole history checked."""

from __future__ import annotations

import pytest
from harness.binaries import subject
from harness.drills import DRILLS, perform
from harness.network import impossible
from harness.require import missing, require

# Each kind of cut once; those that differ only in whom they meet are scripts/soak's.
LONGER = {"bridge-of-five", "follower-alone", "follower-deaf", "one-link-down"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.soak] if name in LONGER else [])
        for name, drill in DRILLS.items()
        if drill.network
    ],
)
def test_partition(name: str, seed: int) -> None:
    """A majority goes on, nothing is lost, nothing stale is read, the watch misses nothing."""
    require(subject())
    reason = impossible()
    if reason:
        missing(reason)
    outcome = perform(DRILLS[name], subject(), seed)
    assert outcome.writes >= 300
    assert outcome.outage < 20
