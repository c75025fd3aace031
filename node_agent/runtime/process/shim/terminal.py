"""The terminal of a program in a container: made by the program's own side, in the container's devpts.

Why there: a pseudo-terminal is known by its number in one instance of devpts. One made by the shim would be of the
machine's, which the container does not see: `tty` would say "not a tty", and nothing could open it by its name. So the
child opens it between its last mount and its first instruction, and sends the master's descriptor back to the shim.

Faults assumed: the child may end before it sends anything (StartError says why; here it is an OSError).
Source: pts(4), "Mounting instances" of the kernel's devpts documentation, unix(7) on SCM_RIGHTS.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
import termios

_RIGHTS = (socket.SOL_SOCKET, socket.SCM_RIGHTS)
_DESCRIPTOR = struct.Struct("i")


def take(link: socket.socket, owner: int) -> None:
    """In the child, a session leader in the container's root: a new terminal, its controlling one, as its streams.

    owner: the user who will run, to whom it is given, so that it can be opened again by its name.
    """
    try:
        master, slave = os.openpty()
    except OSError as refusal:
        raise OSError(refusal.errno, f"open a terminal: {refusal.strerror}") from refusal
    if owner != os.geteuid():
        os.fchown(slave, owner, -1)
    link.sendmsg([b"t"], [(*_RIGHTS, _DESCRIPTOR.pack(master))])
    for number in range(3):
        os.dup2(slave, number)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def receive(link: socket.socket) -> int:
    """In the shim: the master's descriptor. Raises OSError when none was sent."""
    _, ancillary, _, _ = link.recvmsg(1, socket.CMSG_SPACE(_DESCRIPTOR.size), socket.MSG_CMSG_CLOEXEC)
    for level, kind, body in ancillary:
        if (level, kind) == _RIGHTS:
            return int(_DESCRIPTOR.unpack(body[: _DESCRIPTOR.size])[0])
    raise OSError(errno.EPIPE, "the program sent no terminal")
