"""Namespaces that a sandbox's containers share, kept alive by bind mounts under the sandbox's folder.

Run as a program (`… <folder>`, configuration on stdin): a process that leaves the machine's namespaces, sets them
up, and ends; what is left are the files `ns/net`, `ns/ipc`, `ns/uts`. They go with `release` or with the machine's
next start.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import struct
import sys
from typing import Any

from node_agent.runtime.process import linux

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
        linux.mount(f"/proc/self/ns/{kind}", path, "", linux.MS_BIND)


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


def main() -> None:
    try:
        make(sys.argv[1], json.load(sys.stdin))
    except OSError as problem:
        release(sys.argv[1])
        sys.exit(str(problem))
