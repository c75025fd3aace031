"""A test that plays the server of a link."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from support.bench.load import frames
from support.bench.load.link import Link

# Octets that a socket takes in any case.
_MOST = 16_000
L = TypeVar("L", bound=Link)


@contextmanager
def served(make: Callable[[str], L], asked: bytes = b"", answer: bytes = b"") -> Iterator[tuple[L, socket.socket]]:
    """make(endpoint): the link. With the socket of its other end, which says `answer` when it hears `asked`."""
    accepted: list[socket.socket] = []

    def accept(listener: socket.socket) -> None:
        accepted.append(listener.accept()[0])
        accepted[0].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        accepted[0].sendall(frames.frame(frames.SETTINGS, 0, 0, b""))
        heard = b""
        while asked not in heard:
            heard += accepted[0].recv(4096)
        accepted[0].sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, args=[listener])
        thread.start()
        link = make(f"127.0.0.1:{listener.getsockname()[1]}")
        thread.join()
    try:
        link.start()
        yield link, accepted[0]
    finally:
        link.close()
        accepted[0].close()


def feed(link: Link, server: socket.socket, octets: bytes, cuts: Sequence[int]) -> None:
    """Let the link receive them in pieces, cut at these places (taken modulo their number)."""
    whole = range(0, len(octets), _MOST)
    edges = sorted({*whole, len(octets), *(cut % len(octets) for cut in cuts)})
    for begin, end in itertools.pairwise(edges):
        server.sendall(octets[begin:end])
        while len(link.socket.recv(end - begin, socket.MSG_PEEK)) < end - begin:
            pass  # over loopback it is there at once
        link.receive()
