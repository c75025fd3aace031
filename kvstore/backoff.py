"""How long to wait before asking again: growing, bounded, and different for every client."""

from __future__ import annotations

import random
from collections.abc import Iterator


def delays(first: float = 0.025, most: float = 1.0) -> Iterator[float]:
    """Seconds to wait after the first, second, … failure: doubling up to `most`, each drawn from its upper half.

    The jitter keeps clients that lost the same member from coming back in step.
    """
    ceiling = first
    while True:
        yield random.uniform(ceiling / 2, ceiling)
        ceiling = min(ceiling * 2, most)
