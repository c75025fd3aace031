"""The system calls that Python has no names for (os.unshare and os.setns came with 3.12; we run from 3.11): by ctypes.

Why not util-linux's unshare and nsenter: two processes more per exec (probes run every few seconds), no word on why
something failed, and capabilities, users of the image and cgroups would need a third program inside the container.

Every function raises OSError with the call's name and what it was called with. Imports only what the shim can afford.
Source: Linux man-pages, sections 2 and 7 (namespaces, mount, pivot_root, prctl, capabilities).
"""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MNT_DETACH = 2

_PR_SET_PDEATHSIG = 1
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "ppc64le": 203, "s390x": 217, "armv7l": 218, "i686": 217}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _bytes(text: str) -> bytes | None:
    return os.fsencode(text) if text else None


def unshare(flags: int) -> None:
    """Leave namespaces of this thread for new ones (the PID namespace: for its children to come)."""
    _check(_libc.unshare(flags), f"unshare({flags:#x})")


def setns(descriptor: int, flag: int) -> None:
    """Enter a namespace, by an open file of /proc/<pid>/ns (the PID namespace: for the children to come)."""
    _check(_libc.setns(descriptor, flag), f"setns({flag:#x})")


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    result = _libc.mount(_bytes(source), os.fsencode(target), _bytes(kind), flags, _bytes(data))
    _check(result, f"mount {kind or 'bind'} {source} on {target}")


def umount(target: str, flags: int = MNT_DETACH) -> None:
    _check(_libc.umount2(os.fsencode(target), flags), f"umount {target}")


def pivot_root(new_root: str, put_old: str) -> None:
    """Make `new_root` the root of this mount namespace, and put the old one at a folder below it."""
    number = _PIVOT_ROOT.get(os.uname().machine)
    if number is None:
        raise OSError(f"pivot_root: its number on {os.uname().machine} is not known here")
    _check(_libc.syscall(number, os.fsencode(new_root), os.fsencode(put_old)), f"pivot_root({new_root}, {put_old})")


def die_with_parent(signal: int) -> None:
    """Have the kernel send this process `signal` when its parent ends. A change of user forgets it again."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal, 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")


def become_subreaper() -> None:
    """Orphaned descendants become children of this process instead of init's."""
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl(PR_SET_CHILD_SUBREAPER)")


def no_new_privileges() -> None:
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")


def keep_capabilities(kept: list[int]) -> None:
    """Drop all capabilities but these from the bounding set: what root has after the next exec is what is left of
    it.
    """
    for number in range(64):
        known = _libc.prctl(_PR_CAPBSET_READ, number, 0, 0, 0)
        if known < 0:
            return
        if known and number not in kept:
            _check(_libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0), f"prctl(PR_CAPBSET_DROP, {number})")
