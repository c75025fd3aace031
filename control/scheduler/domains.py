"""How many of something lie in each domain of a topology key (all nodes with the same value of one label).

Counted once over the whole cluster, then kept true as pods come and go, so that a question about one row is answered
by looking at that row. Invariant: domain 0, which is of the rows without the label, counts nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from control.scheduler.cluster import Cluster
from control.scheduler.labels import At, Numbers, Rows
from control.scheduler.tally import ByRow, together


class Domains:
    """Counts by domain number of one topology key."""

    def __init__(self, cluster: Cluster, key: str, found: Iterable[ByRow] = ()) -> None:
        """found: what counts, by row."""
        self.column: Numbers = cluster.labels.column(key)
        self.counts: Numbers = np.zeros(cluster.labels.domains(key), np.int64)
        self.add_all(found)

    def add_all(self, found: Iterable[ByRow]) -> None:
        """All of these more."""
        rows, numbers = together(found)
        # Whole numbers far below 2**53: counting them as floats loses nothing.
        self.counts += np.bincount(self.column[rows], numbers, len(self.counts)).astype(np.int64)
        self.counts[0] = 0

    def add(self, row: int, number: int) -> None:
        """So many more, or fewer, in the domain of a row."""
        domain = int(self.column[row])
        if domain:
            self.counts[domain] += number

    def near(self, at: At) -> Rows:
        """Rows in whose domain there is one."""
        return self.counts[self.column[at]] > 0

    def labelled(self, at: At) -> Rows:
        """Rows that are in any domain."""
        return np.not_equal(self.column[at], 0)
