"""The program (and, for docker, the image) that holds the namespaces of a pod and does nothing. Pure.

A program of two hundred bytes, put together here, because there is nothing to download and no compiler on a node:

    sigaction(SIGCHLD, ignore)    so that the kernel buries what ends in a shared PID namespace
    for ever: wait for a signal   (pause, or ppoll without descriptors)

As PID 1 it hears no signal but SIGKILL. x86-64 is run by our tests; arm64 was put together by the manual.
Source: ELF-64 object file format; Linux system call tables; Intel SDM, Arm ARM.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import tarfile

NAME = "fluyt.dev/pause"
_BASE = 0x400000
_HEADERS = 64 + 56
_MACHINES = {"x86_64": (62, "amd64"), "aarch64": (183, "arm64")}
_IGNORE = struct.pack("<QQQQ", 1, 0, 0, 0)  # handler SIG_IGN, flags, restorer, mask

# mov eax,13 · mov edi,17 · lea rsi,[rip+21] · xor edx,edx · mov r10d,8 · syscall · again: mov eax,34 · syscall · jmp
# again
_X86_64 = bytes.fromhex("b80d000000 bf11000000 488d3515000000 31d2 41ba08000000 0f05 b822000000 0f05 ebf7 9090")


def _arm64() -> bytes:
    def movz(register: int, value: int) -> int:
        return 0xD2800000 | value << 5 | register

    svc = 0xD4000001
    set_action = [movz(8, 134), movz(0, 17), 0x10000000 | 11 << 5 | 1, movz(2, 0), movz(3, 8), svc]
    wait = [movz(8, 73), movz(0, 0), movz(1, 0), movz(2, 0), movz(3, 0), svc]
    back = 0x14000000 | (-len(wait) & 0x3FFFFFF)
    return struct.pack("<13I", *set_action, *wait, back)


def program(machine: str) -> bytes:
    """An ELF executable for `machine` (as os.uname has it). Raises KeyError: that one is not known."""
    number, _ = _MACHINES[machine]
    code = (_X86_64 if machine == "x86_64" else _arm64()) + _IGNORE
    size = _HEADERS + len(code)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = ident + struct.pack("<HHIQQQIHHHHHH", 2, number, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return header + segment + code


def image(machine: str, name: str) -> bytes:
    """A docker-archive with the program as `/pause`, called `name`. Raises KeyError."""
    layer = _tar({"pause": program(machine)}, 0o755)
    document = json.dumps(
        {
            "architecture": _MACHINES[machine][1],
            "os": "linux",
            "config": {"Entrypoint": ["/pause"]},
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
            "history": [{"created_by": "fluyt"}],
        }
    ).encode()
    config = hashlib.sha256(document).hexdigest() + ".json"
    manifest = json.dumps([{"Config": config, "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
    return _tar({"layer.tar": layer, config: document, "manifest.json": manifest}, 0o644)


def _tar(files: dict[str, bytes], mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), mode
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()
