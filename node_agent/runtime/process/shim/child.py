"""What happens between fork and exec: the child becomes the container's program. Runs in the shim's image,
single-threaded.

The spec is data (plan.py); this file only carries it out, in the order in which Linux allows it. Nothing may be
imported here after the root has changed. A failure is an OSError (or NoSuchUser) whose message the agent shows to
the pod's owner.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
from typing import Any

from node_agent.runtime.descent import descend, make_folder, top_of
from node_agent.runtime.process import linux, users
from node_agent.runtime.process.shim import root_setup, terminal

_NAMESPACES = {"net": linux.CLONE_NEWNET, "ipc": linux.CLONE_NEWIPC, "uts": linux.CLONE_NEWUTS}
_MAX_ACCOUNT_FILE = 1 << 20
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def take_streams(ends: tuple[int, int, int] | socket.socket) -> None:
    """A session of its own; the given descriptors as standard streams. A terminal is taken later, by `become`."""
    os.setsid()
    if not isinstance(ends, socket.socket):
        for number, descriptor in enumerate(ends):
            os.dup2(descriptor, number)


def enter_cgroups(folders: list[str]) -> None:
    for folder in folders:
        with open(f"{folder}/cgroup.procs", "wb", buffering=0) as file:
            file.write(b"0")


def set_oom_score(value: int) -> None:
    try:
        with open("/proc/self/oom_score_adj", "wb", buffering=0) as file:
            file.write(str(value).encode())
    except PermissionError:
        pass  # without root it can only be raised; a limit that cannot be set is listed by the runtime's health


def build(spec: dict[str, Any]) -> None:
    """First program of a container: its namespaces and its root."""
    for kind, flag in _NAMESPACES.items():
        path = spec["namespaces"].get(kind)
        if path:
            enter(path, flag)
    if spec["root"]["mode"] != "plain":
        cgroup_namespace = linux.CLONE_NEWCGROUP if spec["namespaces"].get("cgroup") else 0
        linux.unshare(linux.CLONE_NEWNS | cgroup_namespace)
        root_setup.build_root(spec)


def join(spec: dict[str, Any], pid: int) -> None:
    """A further program (exec): the namespaces of the first one. The PID namespace is that of all the shim's
    children.
    """
    if spec["root"]["mode"] == "plain":
        return
    opened = []
    for kind, flag in {**_NAMESPACES, "cgroup": linux.CLONE_NEWCGROUP, "mnt": linux.CLONE_NEWNS}.items():
        opened.append((os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC), flag))
    for descriptor, flag in opened:
        linux.setns(descriptor, flag)
    os.chdir("/")


def enter(path: str, flag: int) -> None:
    """Enter the namespace that a file stands for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        linux.setns(descriptor, flag)
    finally:
        os.close(descriptor)


def _text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_ACCOUNT_FILE).decode("utf-8", "replace")
    except OSError:
        return ""


def become(spec: dict[str, Any], ends: object) -> dict[str, str]:
    """Terminal, user, groups, capabilities, working folder: the environment to run with."""
    uid, gid, groups, home = users.resolve(spec["user"], _text("/etc/passwd"), _text("/etc/group"))
    if spec["root"]["mode"] == "plain" and spec["user"].get("uid") is None and not spec["user"].get("name"):
        uid, gid, groups = os.getuid(), os.getgid(), []
    environment = {"PATH": DEFAULT_PATH, "HOME": home, **dict(spec["env"])}
    if isinstance(ends, socket.socket):
        terminal.take(ends, uid)
    _work_in(spec["cwd"] or "/", spec["root"]["mode"])
    if spec["caps"] is not None and os.geteuid() == 0:
        linux.keep_capabilities(spec["caps"])
    _switch(uid, gid, groups)
    if spec["no_new_privs"]:
        linux.no_new_privileges()
    linux.die_with_parent(signal.SIGKILL)
    return environment


def _work_in(folder: str, mode: str) -> None:
    """Not by a link of /proc, which would lead to the machine where a process that has its root can be seen."""
    if mode == "plain":
        os.chdir(folder)
        return
    top = top_of("/")
    try:
        found = descend(top, folder, links=True, make=make_folder if mode == "image" else None)
        os.fchdir(found)
        os.close(found)
    except OSError as problem:
        raise OSError(problem.errno, problem.strerror, folder) from problem
    finally:
        os.close(top)


def _switch(uid: int, gid: int, groups: list[int]) -> None:
    if (uid, gid) == (os.geteuid(), os.getegid()) and uid != 0:
        return
    try:
        os.setgroups(groups)
    except PermissionError:
        if groups not in ([], [gid]):
            raise  # a user namespace without root cannot call it; no loss where no group is asked for
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def execute(argv: list[str], environment: dict[str, str]) -> None:
    """Become the program; returns never, raises OSError in Kubernetes' usual words."""
    for number in (signal.SIGPIPE, signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o022)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    variables = {os.fsencode(key): os.fsencode(value) for key, value in environment.items()}
    refusal: OSError = FileNotFoundError(2, f'exec: "{argv[0]}": executable file not found in $PATH')
    for candidate in _candidates(argv[0], environment.get("PATH", "")):
        try:
            os.execve(candidate, argv, variables)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as problem:
            refusal = type(problem)(problem.errno, f'exec: "{candidate}": {os.strerror(problem.errno or 0).lower()}')
    if "/" in argv[0] and isinstance(refusal, FileNotFoundError):
        refusal = FileNotFoundError(2, f'exec: "{argv[0]}": stat {argv[0]}: no such file or directory')
    raise refusal


def _candidates(program: str, path: str) -> list[str]:
    if "/" in program:
        return [program]
    return [os.path.join(folder or ".", program) for folder in path.split(":")]
