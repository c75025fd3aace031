"""Entry of the shim: `python -I -S -c … <container folder> <descriptor>`.

It leaves the agent behind (two forks, a session of its own), starts the container's program, says on the descriptor
whether that went well (`ok`, or why not), and stays until the program has ended. Everything it needs stands in
spec.json; nothing is in argv or environment that another user could read.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import time
from typing import Any

from node_agent.runtime.process import linux
from node_agent.runtime.process.shim.program import StartError
from node_agent.runtime.process.shim.supervisor import Supervisor, save_state

SOCKET = "shim.sock"


def main() -> None:
    folder, ready = sys.argv[1], int(sys.argv[2])
    os.set_inheritable(ready, False)
    if os.fork():
        os._exit(0)
    os.setsid()
    os.chdir(folder)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        supervisor = _started()
    except (StartError, OSError) as problem:
        message = str(problem)
        save_state({"status": "exited", "code": 128, "started_at": 0.0, "finished_at": time.time(), "refused": message})
        _say(ready, message)
        os._exit(1)
    _say(ready, "ok")
    supervisor.run()
    with contextlib.suppress(FileNotFoundError):
        os.unlink(SOCKET)


def _started() -> Supervisor:
    with open("spec.json", encoding="utf-8") as file:
        spec: dict[str, Any] = json.load(file)
    linux.become_subreaper()
    listener = _listen()
    _spare_memory()
    if spec["namespaces"].get("user"):
        _enter_user_namespace(os.getuid(), os.getgid())
    supervisor = Supervisor(spec, listener)
    supervisor.start()
    return supervisor


def _listen() -> socket.socket:
    """A relative name: socket addresses are at most 107 bytes long, folders may be longer."""
    listener = socket.socket(socket.AF_UNIX)
    if os.path.exists(SOCKET):
        os.unlink(SOCKET)
    listener.bind(SOCKET)
    os.chmod(SOCKET, 0o600)
    listener.listen(64)
    listener.setblocking(False)
    return listener


def _enter_user_namespace(uid: int, gid: int) -> None:
    """Without root: a user namespace in which this user is root, and nobody else exists."""
    linux.unshare(linux.CLONE_NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def _spare_memory() -> None:
    """The shim is the last one to be killed when memory runs out, where that can be had."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("-998")
    except OSError:
        pass


def _say(descriptor: int, message: str) -> None:
    with os.fdopen(descriptor, "wb") as file:
        file.write(message.encode("utf-8", "replace")[:4096])
