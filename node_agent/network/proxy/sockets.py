"""Sockets of the user-space proxy, and what it asks the kernel of its clients.

Source: socket(7); the kernel's Documentation/networking/filter for programs of SO_ATTACH_FILTER.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from typing import Final

from node_agent.network.proxy.listeners import Place

_BACKLOG: Final = 100
_SO_ATTACH_FILTER: Final = 26  # the module socket has no name for it
# What a machine sends to any address of its own comes by the loopback interface, which has the index 1. (A socket that
# is bound to that interface does not do: such packets count as the interface's that has the address.)
_LOOPBACK_ALONE: Final = (
    (0x20, 0, 0, 0x1_0000_0000 - 0x1000 + 8),  # load the interface's index
    (0x15, 0, 1, 1),  # is it 1? Else leave out the next one
    (0x06, 0, 0, 0xFFFF_FFFF),  # take the whole packet
    (0x06, 0, 0, 0),  # take nothing
)


def bound(place: Place) -> socket.socket:
    """Bound there, and listening if it is TCP. Raises OSError: the port is taken, the address is not this machine's."""
    family = socket.AF_INET6 if ":" in place.address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM if place.protocol == "TCP" else socket.SOCK_DGRAM)
    try:
        made.setblocking(False)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if place.inside:
            _take_from_here_alone(made)
        if place.protocol == "TCP":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((place.address, place.port))
        if place.protocol == "TCP":
            made.listen(_BACKLOG)  # here, as a port that another cluster holds refuses this and not the bind
    except OSError:
        made.close()
        raise
    return made


def _take_from_here_alone(one: socket.socket) -> None:
    """For other machines it is as if nobody were there, not even to say no. Raises OSError."""
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in _LOOPBACK_ALONE))
    described = struct.pack("@HP", len(_LOOPBACK_ALONE), ctypes.addressof(program))
    one.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)


def is_own(address: str) -> bool:
    """Whether it is an address of this machine: no other one can be bound (unless ip_nonlocal_bind is on)."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
