"""Python's collector of cycles, told what a process does that keeps objects of the API.

An object is some hundred dicts and lists in which no cycle ever runs, and a client with ten thousand of them in memory
has a million. The collector's defaults look at new ones every 700 and at all of them whenever a quarter more have come:
half of the time of reading a watch while a cluster grows, and pauses of a tenth of a second and more. References are
counted all the same, so what is replaced is freed at once; the collector is left to look for real cycles, seldom.
"""

from __future__ import annotations

import gc
from typing import Final

# New containers (more made than freed) until the youngest are looked at: some 4 ms; so many looks until the next older
# ones are, and so many of those until all are.
_THRESHOLDS: Final = (10_000, 50, 100)


def settle() -> None:
    """To be called once, when all that stays for good has been made: it is not looked at any more."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
