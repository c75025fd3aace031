"""Sockets in another network namespace, for port-forward."""

from __future__ import annotations

import asyncio
import os
import socket
import threading

from node_agent.runtime.errors import NotRunning
from node_agent.runtime.process import linux


async def socket_within(netns: str) -> socket.socket:
    """A TCP socket in the namespace at that path. Raises NotRunning.

    A socket belongs to the namespace of the thread that made it: a thread of its own goes there, and ends.
    """
    loop = asyncio.get_running_loop()
    made: asyncio.Future[socket.socket] = loop.create_future()

    def make() -> None:
        try:
            descriptor = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
            try:
                linux.setns(descriptor, linux.CLONE_NEWNET)
            finally:
                os.close(descriptor)
            loop.call_soon_threadsafe(_hand_over, made, socket.socket(), None)
        except OSError as problem:
            loop.call_soon_threadsafe(_hand_over, made, None, problem)

    threading.Thread(target=make, name="netns socket", daemon=True).start()
    return await made


def _hand_over(made: asyncio.Future[socket.socket], sock: socket.socket | None, problem: OSError | None) -> None:
    if sock is None:
        if not made.done():
            made.set_exception(NotRunning(f"the sandbox's network is gone: {problem}"))
    elif made.done():
        sock.close()
    else:
        made.set_result(sock)
