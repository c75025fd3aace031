"""Free TCP ports on loopback.

Ports are taken below the kernel's ephemeral range, so that no outgoing connection of another test can sit on one
between the moment it was found free and the moment a server binds it; above those that `fluyt up` chooses from
(control/up/ports.py), and below the node ports of Services. Two runs at once start from different places.
Workers of one run have a share each: a port whose server was killed is its own until it is started again.
"""

from __future__ import annotations

import itertools
import os
import random
import socket
from collections.abc import Iterator


def _share() -> tuple[int, int]:
    """First port and the one behind the last, of this pytest-xdist worker."""
    low, high = 20_000, 30_000
    worker, workers = os.environ.get("PYTEST_XDIST_WORKER", "gw0"), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    size = (high - low) // workers
    first = low + int(worker.removeprefix("gw")) % workers * size
    return first, first + size


_LOW, _HIGH = _share()
# Seeded by the process, not by the test's seed: two test processes must not walk the same ports.
_START = random.Random(os.getpid() ^ int.from_bytes(os.urandom(4), "big")).randrange(_LOW, _HIGH)
_candidates: Iterator[int] = itertools.cycle(itertools.chain(range(_START, _HIGH), range(_LOW, _START)))


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nothing listens on and that this process has not handed out lately."""
    for port in itertools.islice(_candidates, _HIGH - _LOW):
        with socket.socket() as probe:
            # As servers do: ports in TIME_WAIT count as free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port between {_LOW} and {_HIGH}")
