"""Free TCP ports for servers that live long.

Taken below the kernel's ephemeral range and below the node ports of Services, so that nobody's outgoing connection
and no Service sits on one when the cluster is started again.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Container, Iterator

_LOW, _HIGH = 12_000, 20_000


def free_ports(count: int, host: str = "127.0.0.1", besides: Container[int] = ()) -> list[int]:
    """That many distinct ports that nothing listens on, none of them in `besides`. OSError: there are not so many."""
    found: list[int] = []
    for port in _candidates():
        if len(found) == count:
            return found
        if port not in besides and is_free(port, host):
            found.append(port)
    raise OSError(f"fewer than {count} free ports between {_LOW} and {_HIGH} at {host}")


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        # As servers do: ports in TIME_WAIT count as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def _candidates() -> Iterator[int]:
    ports = list(range(_LOW, _HIGH))
    # Two clusters that are founded at the same moment must not walk the same ports.
    random.SystemRandom().shuffle(ports)
    return iter(ports)
