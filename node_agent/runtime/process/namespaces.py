"""Namespaces that a sandbox's containers share, kept alive by bind mounts under the sandbox's folder.

Made by a thread of its own, which leaves the machine's namespaces (network, IPC and UTS are a thread's), sets the
new ones up and ends: no interpreter to start. What is left are the files `ns/net`, `ns/ipc`, `ns/uts`; they go with
`release` or with the machine's next start. Source: unshare(2), namespaces(7).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import struct
import threading
from typing import Any

from node_agent.runtime.process import linux
from node_agent.runtime.process.shim_link import to_its_end

_FLAGS = {"net": linux.CLONE_NEWNET, "ipc": linux.CLONE_NEWIPC, "uts": linux.CLONE_NEWUTS}
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


def make(folder: str, request: dict[str, Any]) -> None:
    """Raises OSError."""
    kinds = [kind for kind in _FLAGS if kind in request["kinds"]]
    linux.unshare(sum(_FLAGS[kind] for kind in kinds))
    if "uts" in kinds and request["hostname"]:
        socket.sethostname(request["hostname"])
    if "net" in kinds:
        _loopback_up()
    for name, value in request["sysctls"].items():
        _sysctl(name, value)
    for kind in kinds:
        path = os.path.join(folder, kind)
        os.close(os.open(path, os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o600))
        linux.mount(f"/proc/thread-self/ns/{kind}", path, "", linux.MS_BIND)


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = fcntl.ioctl(sock, _SIOCGIFFLAGS, struct.pack("16sH14x", b"lo", 0))
        _, flags = struct.unpack("16sH14x", request)
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))


def _sysctl(name: str, value: str) -> None:
    parts = name.replace("/", ".").split(".")
    if any(part in ("", "..") for part in parts):
        raise OSError(22, f"sysctl {name!r} is no name")
    with open("/proc/sys/" + "/".join(parts), "w", encoding="ascii") as file:
        file.write(value)


def release(folder: str) -> None:
    """Let the namespaces go; they end with their last process. Missing is fine."""
    for kind in _FLAGS:
        path = os.path.join(folder, kind)
        with contextlib.suppress(OSError):
            linux.umount(path)
        with contextlib.suppress(OSError):
            os.unlink(path)


async def make_in_thread(folder: str, request: dict[str, Any]) -> None:
    """`make`, in a thread that ends afterwards, as its namespaces are no longer the machine's. Raises OSError."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def settle(problem: OSError | None) -> None:
        if done.done():
            return
        if problem is None:
            done.set_result(None)
        else:
            done.set_exception(problem)

    def run() -> None:
        problem: OSError | None = None
        try:
            make(folder, request)
        except OSError as found:
            release(folder)
            problem = found
        loop.call_soon_threadsafe(settle, problem)

    threading.Thread(target=run, name="namespaces", daemon=True).start()
    # Whoever gives up releases what was made: the thread must have come to its end by then.
    await to_its_end(done)
