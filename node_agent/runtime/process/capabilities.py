"""Linux capabilities by name, and which ones a container keeps. Pure. Source: capabilities(7)."""

from __future__ import annotations

from collections.abc import Iterable

_NAMES = """
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT
SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP
MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""
NUMBERS = {name: number for number, name in enumerate(_NAMES.split())}

# What containers have by default elsewhere, without MKNOD: a device node made by root inside would open the
# machine's disks, and nothing but the devices cgroup (gone in v2) would stop it.
_DEFAULT = """
CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW SYS_CHROOT AUDIT_WRITE
SETFCAP
"""
DEFAULT = frozenset(_DEFAULT.split())


def _named(names: Iterable[str]) -> tuple[set[str], bool]:
    plain = {name.upper().removeprefix("CAP_") for name in names}
    unknown = plain - set(NUMBERS) - {"ALL"}
    if unknown:
        raise ValueError(f"unknown capability {', '.join(sorted(unknown))}")
    return plain - {"ALL"}, "ALL" in plain


def kept(add: Iterable[str], drop: Iterable[str]) -> list[int]:
    """Numbers of what is left. Raises ValueError on a name that does not exist."""
    added, add_all = _named(add)
    dropped, drop_all = _named(drop)
    names = set(NUMBERS) if add_all else set() if drop_all else set(DEFAULT)
    names = (names | added) - dropped
    return sorted(NUMBERS[name] for name in names)
