"""Node ports and host ports that nftables serves are taken at the kernel, too: a port has one cluster, or one program,
on a machine.

Rules that rewrite addresses know nothing of each other: of two clusters with the same port the older one's table would
win in silence. So each port is bound (nobody listens there, and it is never shared): who comes second is refused,
says so, and leaves the port alone. Invariant: what is held is a subset of what was asked for last. Faults assumed: the
agent is killed (the kernel lets go at once); there are too few file descriptors (then the port is served without being
held, as before there were reservations).
"""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Collection
from typing import Final

log = logging.getLogger(__name__)

_KINDS: Final = {"TCP": socket.SOCK_STREAM, "UDP": socket.SOCK_DGRAM}
_TAKEN: Final = (errno.EADDRINUSE, errno.EACCES, errno.EPERM)
_NO_SUCH_FAMILY: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
# A port of one protocol, on one address of the machine ("" is all).
Port = tuple[str, int, str]


class PortReservations:
    """hold(), again and again; then close()."""

    def __init__(self) -> None:
        self._held: dict[Port, list[socket.socket]] = {}

    def hold(self, wanted: Collection[Port]) -> dict[Port, str]:
        """Have these and no others. The ports that cannot be had, with the reason."""
        for port in [port for port in self._held if port not in wanted]:
            _close(self._held.pop(port))
        refused = {}
        for port in sorted(wanted):
            if port not in self._held:
                try:
                    self._held[port] = _bound(*port)
                except OSError as problem:
                    if problem.errno in _TAKEN:
                        refused[port] = problem.strerror or str(problem)
                    else:
                        log.info("%s port %d is served without being reserved: %s", *port[:2], problem.strerror)
        return refused

    def close(self) -> None:
        """Hold nothing."""
        for sockets in self._held.values():
            _close(sockets)
        self._held.clear()


def _bound(protocol: str, port: int, address: str) -> list[socket.socket]:
    """Of the families that the address is of, as far as the machine has them. Raises OSError."""
    made: list[socket.socket] = []
    try:
        for each in (address,) if address else ("0.0.0.0", "::"):
            try:
                made.append(socket.socket(socket.AF_INET6 if ":" in each else socket.AF_INET, _KINDS[protocol]))
                _seize(made[-1], each, port)
            except OSError as problem:
                if problem.errno not in _NO_SUCH_FAMILY:
                    raise
    except OSError:
        _close(made)
        raise
    return made


def _seize(one: socket.socket, address: str, port: int) -> None:
    """Bind it so that nobody else can. Raises OSError.

    TCP ports that a server has just left are full of connections that linger, which forbid an exclusive bind for a
    minute. A shared one may be had by several; of those one alone is allowed to listen. So we listen for a moment:
    afterwards the port is still ours, and as it is not shared any more, nobody else's listen() succeeds.
    """
    if one.family == socket.AF_INET6:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if one.type != socket.SOCK_STREAM:
        one.bind((address, port))
        return
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind((address, port))
    one.listen(0)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    one.shutdown(socket.SHUT_RDWR)


def _close(sockets: list[socket.socket]) -> None:
    for one in sockets:
        one.close()
