"""A process that does nothing but be the first one of a PID namespace which a pod's containers share.

It has a shim like any container, in `init` below the sandbox's folder, so it outlives the agent and ends with the
sandbox; the namespace itself stays reachable at `ns/pid`. Its root holds nothing but its program: the pod's containers
see the process and, as it has no capabilities that they lack, may follow /proc/1/root. Source: pid_namespaces(7),
ptrace(2).
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
from pathlib import Path
from typing import Any

from node_agent.runtime import pause
from node_agent.runtime.errors import CannotCreate
from node_agent.runtime.present import replace_file
from node_agent.runtime.process import linux
from node_agent.runtime.process.shim_link import kill, start_shim, to_its_end

_REASON = "CreatePodSandboxError"


def holder_spec(root: str, *, user: bool) -> dict[str, Any]:
    """What the shim is told. Pure."""
    return {
        "log": "",
        "tty": False,
        "stdin": False,
        "stdin_once": False,
        "argv": ["/pause"],
        "env": [],
        "cwd": "/",
        "user": {"uid": None, "name": "", "gid": None, "groups": []},
        "caps": [],
        "no_new_privs": True,
        "oom_score_adj": -998,
        "readonly": True,
        "namespaces": {"pid": "new", "user": user},
        "root": {"mode": "image", "target": root},
        "mounts": [],
        "cgroups": [],
        "oom_file": "",
    }


async def hold(sandbox: Path, *, user: bool) -> str:
    """Start the holder: the path of its namespace. Raises CannotCreate, CannotStart, OSError."""
    folder = sandbox / "init"
    (folder / "root").mkdir(mode=0o711, parents=True)
    program = folder / "root" / "pause"
    try:
        program.write_bytes(pause.program(platform.machine()))
    except KeyError as problem:
        raise CannotCreate(
            f"shareProcessNamespace: no program for {platform.machine()} processors", _REASON
        ) from problem
    program.chmod(0o755)
    replace_file(folder / "spec.json", json.dumps(holder_spec(str(folder / "root"), user=user)))
    await to_its_end(start_shim(folder))
    pid = json.loads((folder / "state.json").read_text())["pid"]
    path = sandbox / "ns" / "pid"
    path.touch(mode=0o600)
    linux.mount(f"/proc/{pid}/ns/pid", str(path), "", linux.MS_BIND)
    return str(path)


async def let_go(sandbox: Path) -> None:
    """End it and everything that still runs in its namespace. Missing is fine. Raises RuntimeUnavailable."""
    if (sandbox / "init").is_dir():
        await kill(sandbox / "init")
    with contextlib.suppress(OSError):
        linux.umount(str(sandbox / "ns" / "pid"))
    with contextlib.suppress(OSError):
        os.unlink(sandbox / "ns" / "pid")
