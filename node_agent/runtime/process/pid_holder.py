"""A process that does nothing but be the first one of a PID namespace which a pod's containers share.

It has a shim like any container, in `init` below the sandbox's folder, so it outlives the agent and ends with the
sandbox; the namespace itself stays reachable at `ns/pid`. Source: pid_namespaces(7).
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
from pathlib import Path
from typing import Any

from node_agent.runtime import pause
from node_agent.runtime.errors import CannotCreate, NotRunning
from node_agent.runtime.process import linux
from node_agent.runtime.process.records import replace_file
from node_agent.runtime.process.shim_link import start_shim, tell

_REASON = "CreatePodSandboxError"


def holder_spec(program: str, *, user: bool) -> dict[str, Any]:
    """What the shim is told. Pure."""
    return {
        "log": "",
        "tty": False,
        "stdin": False,
        "stdin_once": False,
        "argv": [program],
        "env": [],
        "cwd": "/",
        "user": {"uid": None, "name": "", "gid": None, "groups": []},
        "caps": [],
        "no_new_privs": True,
        "oom_score_adj": -998,
        "readonly": True,
        "namespaces": {"pid": "new", "user": user},
        "root": {"mode": "plain"},
        "mounts": [],
        "cgroups": [],
        "oom_file": "",
    }


async def hold(sandbox: Path, *, user: bool) -> str:
    """Start the holder: the path of its namespace. Raises CannotCreate, CannotStart, OSError."""
    folder = sandbox / "init"
    folder.mkdir(mode=0o711)
    program = folder / "pause"
    try:
        program.write_bytes(pause.program(platform.machine()))
    except KeyError as problem:
        raise CannotCreate(
            f"shareProcessNamespace: no program for {platform.machine()} processors", _REASON
        ) from problem
    program.chmod(0o755)
    replace_file(folder / "spec.json", json.dumps(holder_spec(str(program), user=user)))
    await start_shim(folder)
    pid = json.loads((folder / "state.json").read_text())["pid"]
    path = sandbox / "ns" / "pid"
    path.touch(mode=0o600)
    linux.mount(f"/proc/{pid}/ns/pid", str(path), "", linux.MS_BIND)
    return str(path)


async def let_go(sandbox: Path) -> None:
    """End it and everything that still runs in its namespace. Missing is fine."""
    if (sandbox / "init").is_dir():
        with contextlib.suppress(NotRunning):
            await tell(sandbox / "init", b"K", {"signal": int(signal.SIGKILL)})
    with contextlib.suppress(OSError):
        linux.umount(str(sandbox / "ns" / "pid"))
    with contextlib.suppress(OSError):
        os.unlink(sandbox / "ns" / "pid")
